//! As much of PromQL as the tests need: where an expression has its comparisons.

/// What an alert looks at: its expression without its comparisons, and without the words between them. The rule of the
/// tests: each of these must return series in health too, or the alert could never fire.
pub(crate) fn looked_at(expression: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0_i32;
    let mut quoted = false;
    // Whether we are behind a comparison: its right side is a number.
    let mut compared = false;
    for word in words(expression) {
        match word.as_str() {
            "\"" => quoted = !quoted,
            "(" | "{" | "[" if !quoted => depth += 1,
            ")" | "}" | "]" if !quoted => depth -= 1,
            _ => {}
        }
        let outside = depth == 0 && !quoted;
        if outside && matches!(word.as_str(), "and" | "or" | "unless") {
            parts.push(String::new());
            compared = false;
        } else if outside && matches!(word.as_str(), ">" | "<" | "==" | ">=" | "<=" | "!=") {
            compared = true;
        } else if !compared {
            parts.last_mut().unwrap().push_str(&word);
        }
    }
    parts.into_iter().map(|part| part.trim().to_owned()).collect()
}

/// Names and operators as a whole, everything else letter by letter.
fn words(expression: &str) -> Vec<String> {
    let kind = |c: char| match c {
        c if c.is_alphanumeric() || c == '_' || c == ':' => 1,
        '<' | '>' | '=' | '!' => 2,
        _ => 0,
    };
    let mut words: Vec<String> = Vec::new();
    for c in expression.chars() {
        match words.last_mut() {
            Some(last) if kind(c) != 0 && last.chars().last().is_some_and(|l| kind(l) == kind(c)) => {
                last.push(c);
            }
            _ => words.push(c.to_string()),
        }
    }
    words
}

#[test]
fn an_alert_is_taken_apart_at_its_comparisons() {
    assert_eq!(looked_at("sum(a{b=\"> 1 and\"}) > 0"), ["sum(a{b=\"> 1 and\"})"]);
    assert_eq!(looked_at("a:b > 0.01 and c[1h] > 0.02"), ["a:b", "c[1h]"]);
    assert_eq!(
        looked_at("max by (x) (up == 0) / 2"),
        ["max by (x) (up == 0) / 2"]
    );
}
