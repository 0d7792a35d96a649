//! How the gate is told what a sale is bound to: one field, so that what it knows is compared in one look.

use chrono::{DateTime, Utc};

use crate::domain::rules::SaleRules;

/// `<purchase limit>:<start ms>:<end ms>:<1 if discontinued, else 0>`, the first three empty where there is none. The gate
/// counts whole milliseconds and the database finer ones: the gate begins earlier and ends later by less than one, so that
/// it refuses nobody whom the decision would not.
#[must_use]
pub fn text(rules: &SaleRules) -> String {
    let number = |number: Option<i64>| number.map_or_else(String::new, |number| number.to_string());
    format!(
        "{}:{}:{}:{}",
        number(rules.purchase_limit),
        number(rules.starts_at.map(ms_before)),
        number(rules.ends_at.map(|at| ms_before(at) + 1)),
        u8::from(rules.discontinued),
    )
}

/// Milliseconds since 1970; 0 for what was before.
fn ms_before(at: DateTime<Utc>) -> i64 {
    at.timestamp_millis().max(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_millisecond_is_never_held_against_a_buyer() {
        let at = |micros| DateTime::from_timestamp_micros(micros).expect("a moment");
        let rules = SaleRules {
            discontinued: false,
            starts_at: Some(at(1_000_900)),
            ends_at: Some(at(2_000_100)),
            purchase_limit: Some(2),
        };
        assert_eq!(text(&rules), "2:1000:2001:0");
    }

    #[test]
    fn no_rules_are_empty_fields() {
        assert_eq!(text(&SaleRules::default()), ":::0");
    }
}
