//! Statuses as the tables have them: the words of the wire.

use contracts::order::{Flow, OrderStatus, OutboxStatus};

use super::DbError;
use crate::saga::Step;

/// A status with its word in a column.
pub(super) trait Stored: Copy + 'static {
    /// All of them, with their words.
    const WORDS: &'static [(Self, &'static str)];
    /// Its word.
    fn word(self) -> &'static str;

    /// The status a word stands for.
    fn stored(word: &str) -> Result<Self, DbError> {
        let found = Self::WORDS.iter().find(|(_, known)| *known == word);
        found
            .map(|(status, _)| *status)
            .ok_or_else(|| DbError::Stored(word.to_owned()))
    }
}

macro_rules! stored {
    ($name:ident { $($variant:ident $word:literal)+ }) => {
        impl Stored for $name {
            const WORDS: &'static [(Self, &'static str)] = &[$((Self::$variant, $word)),+];

            fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
    };
}

stored!(OrderStatus { Pending "PENDING" Confirmed "CONFIRMED" Cancelled "CANCELLED" Failed "FAILED" });
stored!(Flow { Sync "SYNC" Async "ASYNC" });
stored!(OutboxStatus { Pending "PENDING" Sent "SENT" Failed "FAILED" Dead "DEAD" });
stored!(Step { Decrease "DECREASE" Cancel "CANCEL" Void "VOID" });
