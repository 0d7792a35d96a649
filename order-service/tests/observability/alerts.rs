//! Alerts: valid, tested in both directions, each with its runbook.

use std::collections::BTreeSet;

use crate::{promtool, said, text_of};

const RULES: &str = "config/prometheus/rules/alerts.yml";
const TESTS: &str = "config/prometheus/tests/alerts.yml";
const RUNBOOKS: &str = "docs/OPERATIONS.md";

/// What stands behind a key in a file, line by line, without its quotes.
fn values<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    text.lines()
        .filter_map(|line| {
            line.trim_start()
                .trim_start_matches("- ")
                .strip_prefix(key)?
                .strip_prefix(": ")
        })
        .map(|value| value.trim_matches('\''))
        .collect()
}

#[test]
fn promtool_accepts_the_configuration_and_the_rules_do_as_their_tests_say() {
    for args in [
        ["check", "config", "prometheus.yml"].as_slice(),
        &["check", "rules", "rules/alerts.yml", "rules/recording.yml"],
        &["test", "rules", "tests/alerts.yml"],
    ] {
        let output = promtool(args, "");
        assert!(output.status.success(), "promtool {args:?}\n{}", said(&output));
    }
}

#[test]
fn every_alert_has_a_test_in_which_it_fires_and_one_in_which_it_does_not_yet() {
    let (rules, tests) = (text_of(RULES), text_of(TESTS));
    let alerts: BTreeSet<&str> = values(&rules, "alert").into_iter().collect();
    assert!(alerts.len() >= 15);
    for alert in alerts {
        let asked = tests.matches(&format!("- alertname: {alert}\n")).count();
        assert_eq!(asked, 2, "{alert}");
        let test = tests.split(&format!("- name: {alert}\n")).nth(1).unwrap();
        let test = test.split("\n  - name: ").next().unwrap();
        assert_eq!(test.matches("exp_alerts: []").count(), 1, "{alert}: not yet");
        assert_eq!(test.matches("exp_alerts:\n").count(), 1, "{alert}: fires");
    }
}

#[test]
fn every_alert_leads_to_its_runbook_and_every_runbook_is_of_an_alert() {
    let (rules, runbooks) = (text_of(RULES), text_of(RUNBOOKS));
    let alerts = values(&rules, "alert");
    let urls = values(&rules, "runbook_url");
    let expected: Vec<String> = alerts
        .iter()
        .map(|alert| format!("{RUNBOOKS}#{}", alert.to_lowercase()))
        .collect();
    assert_eq!(urls, expected);
    let headings: Vec<&str> = runbooks
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .filter(|heading| heading.starts_with("Hotstock"))
        .collect();
    assert_eq!(headings, alerts, "in the same order");
    for alert in alerts {
        let runbook = runbooks.split(&format!("### {alert}\n")).nth(1).unwrap();
        let runbook = runbook.split("\n### ").next().unwrap();
        for part in ["**Means**", "**Look at**", "**Do**"] {
            assert!(runbook.contains(part), "{alert} has no {part}");
        }
    }
}
