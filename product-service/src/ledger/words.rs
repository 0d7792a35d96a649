//! Values of the wire as the database stores them: the same words.

use contracts::product::{ProductStatus, StockStrategy};
use contracts::stock::{Direction, IncreaseReason, MovementReason};

use super::LedgerError;

/// A closed list of values, each stored as one word.
pub(super) trait Stored: Sized + Copy + PartialEq + 'static {
    /// Every value with its word.
    const WORDS: &'static [(Self, &'static str)];

    fn word(self) -> &'static str {
        Self::WORDS
            .iter()
            .find(|(value, _)| *value == self)
            .map_or("", |(_, word)| word)
    }

    fn stored(word: &str) -> Result<Self, LedgerError> {
        let found = Self::WORDS.iter().find(|(_, known)| *known == word);
        found
            .map(|(value, _)| *value)
            .ok_or_else(|| LedgerError::Stored(word.to_owned()))
    }
}

/// Words that conditions compare with.
pub(super) mod word {
    pub(in crate::ledger) const ACTIVE: &str = "ACTIVE";
    pub(in crate::ledger) const REDIS_FIRST: &str = "REDIS_FIRST";
}

impl Stored for ProductStatus {
    const WORDS: &'static [(Self, &'static str)] =
        &[(Self::Active, word::ACTIVE), (Self::Discontinued, "DISCONTINUED")];
}

impl Stored for StockStrategy {
    const WORDS: &'static [(Self, &'static str)] =
        &[(Self::DbOnly, "DB_ONLY"), (Self::RedisFirst, word::REDIS_FIRST)];
}

impl Stored for Direction {
    const WORDS: &'static [(Self, &'static str)] = &[(Self::In, "IN"), (Self::Out, "OUT")];
}

impl Stored for MovementReason {
    const WORDS: &'static [(Self, &'static str)] = &[
        (Self::Initial, "INITIAL"),
        (Self::OrderDecrement, "ORDER_DECREMENT"),
        (Self::OrderIncrement, "ORDER_INCREMENT"),
        (Self::Manual, "MANUAL"),
        (Self::Adjust, "ADJUST"),
    ];
}

impl Stored for IncreaseReason {
    const WORDS: &'static [(Self, &'static str)] = &[
        (Self::OrderCancelled, "ORDER_CANCELLED"),
        (Self::OrderFailed, "ORDER_FAILED"),
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_words_are_the_words_of_the_wire() {
        fn check<T: Stored + serde::Serialize + std::fmt::Debug>() {
            for (value, word) in T::WORDS {
                assert_eq!(serde_json::to_value(value).expect("serialises"), *word);
                assert_eq!(T::stored(word).expect("known"), *value);
            }
        }
        check::<ProductStatus>();
        check::<StockStrategy>();
        check::<Direction>();
        check::<MovementReason>();
        check::<IncreaseReason>();
        assert!(Direction::stored("in").is_err());
    }
}
