//! An attempt of an order to get its stock, and the keys under which that has its effects.

use std::fmt;

/// One attempt of one order. The first has the number 0; each retry by an operator has the next one, and with it keys
/// of its own: what became of the attempts before can never be taken for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Attempt {
    /// The order, >= 1.
    pub order_id: i64,
    /// 0, 1, 2, …
    pub number: i32,
}

impl Attempt {
    /// Request id of the decrease: `DEC-{order}`, for retries `DEC-{order}-{number}`.
    #[must_use]
    pub fn decrease_id(self) -> String {
        format!("DEC-{self}")
    }

    /// Request id of what gives it back: `INC-…`, which by itself voids the `DEC-…` of the same attempt.
    #[must_use]
    pub fn increase_id(self) -> String {
        format!("INC-{self}")
    }

    /// The attempt whose decrease has this request id; `None` when no attempt has.
    #[must_use]
    pub fn of_decrease(request_id: &str) -> Option<Self> {
        let rest = request_id.strip_prefix("DEC-")?;
        let (order_id, number) = match rest.split_once('-') {
            Some((order_id, number)) => (order_id, number.parse().ok().filter(|number| *number >= 1)?),
            None => (rest, 0),
        };
        let order_id = order_id.parse().ok().filter(|id| *id >= 1)?;
        let attempt = Self { order_id, number };
        // Only the very text that this attempt writes: no plus signs, no leading zeros.
        (attempt.decrease_id() == request_id).then_some(attempt)
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            0 => write!(f, "{}", self.order_id),
            number => write!(f, "{}-{number}", self.order_id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attempt_has_keys_of_its_own_and_is_known_by_them() {
        for (order_id, number, decrease, increase) in [
            (17, 0, "DEC-17", "INC-17"),
            (17, 1, "DEC-17-1", "INC-17-1"),
            (1, 12, "DEC-1-12", "INC-1-12"),
        ] {
            let attempt = Attempt { order_id, number };
            assert_eq!(
                (attempt.decrease_id(), attempt.increase_id()),
                (decrease.into(), increase.into())
            );
            assert_eq!(Attempt::of_decrease(decrease), Some(attempt));
        }
    }

    #[test]
    fn nothing_else_is_an_attempt() {
        for text in [
            "",
            "DEC-",
            "DEC-0",
            "DEC--1",
            "DEC-1-0",
            "DEC-1-",
            "DEC-01",
            "DEC-+1",
            "DEC-1-01",
            "INC-1",
            "DEC-x",
            "DEC-1-1-1",
            "DEC-99999999999999999999",
        ] {
            assert_eq!(Attempt::of_decrease(text), None, "{text}");
        }
    }
}
