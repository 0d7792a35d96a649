//! The code under which the outside hears of a verdict.

use contracts::error::ErrorCode;

use super::words::Verdict;

/// Why there is no stock, as a code; `None`: there is.
#[must_use]
pub const fn refusal(verdict: Verdict) -> Option<ErrorCode> {
    Some(match verdict {
        Verdict::Done | Verdict::Replay => return None,
        Verdict::Insufficient => ErrorCode::InsufficientStock,
        Verdict::Limit => ErrorCode::PurchaseLimitExceeded,
        Verdict::BuyerRequired | Verdict::Overflow => ErrorCode::ValidationError,
        Verdict::Mismatch | Verdict::KeyReused => ErrorCode::IdempotencyKeyReused,
        Verdict::Voided => ErrorCode::OrderVoided,
        Verdict::NotFound => ErrorCode::ProductNotFound,
        Verdict::Discontinued => ErrorCode::ProductDiscontinued,
        Verdict::NotOpen => ErrorCode::SaleNotOpen,
    })
}
