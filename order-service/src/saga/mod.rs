//! The saga of an order, as a table:
//!
//! | step | action | when it is done | when it is refused | when nobody can say |
//! |---|---|---|---|---|
//! | `Decrease` | take the stock, as `DEC-…` | CONFIRMED | FAILED | again; in the end FAILED, and compensation `Void` |
//! | `Cancel` | give it back, as `INC-…` | CANCELLED | stays CONFIRMED | again, until somebody can |
//! | `Void` | give up what was taken, as `INC-…` | over | again, operators see it | again, until somebody can |
//!
//! A step is a row, written with the status that makes it necessary and gone with the one that makes it done. Whoever
//! works at it has its lease; if that one dies, the recovery worker takes it up when the lease is over. Every action is
//! idempotent by its key, so a step may be done any number of times, by anybody, at once.

pub mod run;

use contracts::error::ErrorCode;
use contracts::stock::IncreaseReason;

use crate::db::conclude::Conclusion;
use crate::domain::order::FailReason;
use crate::product_client::Answer;

/// What is to be done for an attempt of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Take the stock of a PENDING order.
    Decrease,
    /// Give back the stock of a CONFIRMED order.
    Cancel,
    /// Give up what a failed attempt may have taken.
    Void,
}

/// What a step asks product-service for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Take the units.
    Decrease,
    /// Void the decrease: what it took comes back.
    Increase(IncreaseReason),
}

/// One line of the saga.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// The step.
    pub step: Step,
    /// What it does.
    pub action: Action,
    /// What undoes it when its outcome stays unknown; `None`: it is repeated until it is known.
    pub compensation: Option<Step>,
}

/// The saga.
pub const SAGA: [Line; 3] = [
    Line {
        step: Step::Decrease,
        action: Action::Decrease,
        compensation: Some(Step::Void),
    },
    Line {
        step: Step::Cancel,
        action: Action::Increase(IncreaseReason::OrderCancelled),
        compensation: None,
    },
    Line {
        step: Step::Void,
        action: Action::Increase(IncreaseReason::OrderFailed),
        compensation: None,
    },
];

impl Step {
    /// Its line.
    #[must_use]
    pub const fn line(self) -> Line {
        let [decrease, cancel, void] = SAGA;
        match self {
            Self::Decrease => decrease,
            Self::Cancel => cancel,
            Self::Void => void,
        }
    }
}

/// What is known when an answer to a step, or its absence, is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Whether the same was asked before, by anybody: then an earlier question may still be under way, and have its
    /// effect after this answer.
    pub asked_before: bool,
    /// Whether this was the last time to ask.
    pub last: bool,
    /// The pause until it is asked again, milliseconds.
    pub pause_ms: i64,
}

impl Step {
    /// What becomes of the step after this answer. Pure: the table at the top of this module, and its fine print.
    #[must_use]
    pub fn conclude(self, answer: &Answer, standing: Standing) -> Conclusion {
        let again = |error: String| Conclusion::Again {
            step: self,
            pause_ms: standing.pause_ms,
            error,
        };
        match (self, answer) {
            (Self::Decrease, Answer::Done) => Conclusion::Taken,
            (Self::Decrease, Answer::Refused(code)) => Conclusion::Failed {
                reason: FailReason::Refused(*code),
                void: standing.asked_before,
            },
            (Self::Decrease, Answer::Unknown(_) | Answer::Unreached(_)) if standing.last => {
                Conclusion::Failed {
                    reason: FailReason::NoAnswer,
                    void: true,
                }
            }
            (Self::Cancel, Answer::Done) => Conclusion::Returned,
            (Self::Cancel, Answer::Refused(_)) => Conclusion::Over(self),
            // Nobody was ever reached: nothing can have been given back, and the order keeps its stock.
            (Self::Cancel, Answer::Unreached(_)) if standing.last && !standing.asked_before => {
                Conclusion::Over(self)
            }
            (Self::Void, Answer::Done) => Conclusion::Over(self),
            // Of a product that is not there nothing can have been taken.
            (Self::Void, Answer::Refused(ErrorCode::ProductNotFound)) => Conclusion::Over(self),
            (Self::Void, Answer::Refused(code)) => again(format!("refused: {code}")),
            (_, Answer::Unknown(why) | Answer::Unreached(why)) => again(why.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Standing = Standing {
        asked_before: false,
        last: false,
        pause_ms: 7,
    };
    const LAST: Standing = Standing { last: true, ..FIRST };
    const REPEATED: Standing = Standing {
        asked_before: true,
        ..FIRST
    };
    const LAST_OF_MANY: Standing = Standing {
        asked_before: true,
        last: true,
        pause_ms: 7,
    };

    fn again(step: Step, error: &str) -> Conclusion {
        Conclusion::Again {
            step,
            pause_ms: 7,
            error: error.to_owned(),
        }
    }

    fn failed(reason: FailReason, void: bool) -> Conclusion {
        Conclusion::Failed { reason, void }
    }

    #[test]
    fn the_table_of_the_saga() {
        let unknown = || Answer::Unknown("timeout".to_owned());
        let unreached = || Answer::Unreached("refused connection".to_owned());
        let refused = || Answer::Refused(ErrorCode::InsufficientStock);
        let no_stock = FailReason::Refused(ErrorCode::InsufficientStock);
        for (step, answer, standing, expected) in [
            (Step::Decrease, Answer::Done, FIRST, Conclusion::Taken),
            (Step::Decrease, Answer::Done, LAST_OF_MANY, Conclusion::Taken),
            (Step::Decrease, refused(), FIRST, failed(no_stock, false)),
            (Step::Decrease, refused(), REPEATED, failed(no_stock, true)),
            (Step::Decrease, unknown(), FIRST, again(Step::Decrease, "timeout")),
            (
                Step::Decrease,
                unknown(),
                LAST,
                failed(FailReason::NoAnswer, true),
            ),
            (
                Step::Decrease,
                unreached(),
                LAST,
                failed(FailReason::NoAnswer, true),
            ),
            (Step::Cancel, Answer::Done, FIRST, Conclusion::Returned),
            (Step::Cancel, refused(), REPEATED, Conclusion::Over(Step::Cancel)),
            (Step::Cancel, unknown(), LAST, again(Step::Cancel, "timeout")),
            (Step::Cancel, unreached(), LAST, Conclusion::Over(Step::Cancel)),
            (
                Step::Cancel,
                unreached(),
                LAST_OF_MANY,
                again(Step::Cancel, "refused connection"),
            ),
            (Step::Void, Answer::Done, REPEATED, Conclusion::Over(Step::Void)),
            (
                Step::Void,
                Answer::Refused(ErrorCode::ProductNotFound),
                FIRST,
                Conclusion::Over(Step::Void),
            ),
            (
                Step::Void,
                refused(),
                LAST,
                again(Step::Void, "refused: INSUFFICIENT_STOCK"),
            ),
            (Step::Void, unknown(), LAST_OF_MANY, again(Step::Void, "timeout")),
        ] {
            assert_eq!(
                step.conclude(&answer, standing),
                expected,
                "{step:?} {answer:?} {standing:?}"
            );
        }
    }

    #[test]
    fn every_step_has_its_line() {
        for line in SAGA {
            assert_eq!(line.step.line(), line);
        }
    }

    #[test]
    fn what_may_have_taken_stock_is_never_left_without_its_compensation() {
        for line in SAGA {
            let given_up = line.step.conclude(&Answer::Unknown(String::new()), LAST_OF_MANY);
            match line.compensation {
                Some(Step::Void) => assert!(matches!(given_up, Conclusion::Failed { void: true, .. })),
                Some(other) => panic!("{other:?} compensates nothing"),
                None => assert!(matches!(given_up, Conclusion::Again { .. }), "{line:?}"),
            }
        }
    }
}
