//! One word from Lua to dashboard: every status this service can answer with or label a metric by is explained.

use product_service::domain::words::{
    Admission, BreakerState, CallResult, Find, GateState, LoadStep, Settled, Unavailable, Verdict,
};

/// The sections of docs/GLOSSARY.md that have a list of statuses, each with its words.
fn sections() -> Vec<(&'static str, Vec<&'static str>)> {
    macro_rules! section {
        ($title:literal, $list:ty) => {
            (
                $title,
                <$list>::ALL.iter().map(|status| status.word()).collect(),
            )
        };
    }
    vec![
        section!("Admission", Admission),
        section!("Gate state", GateState),
        section!("Load step", LoadStep),
        section!("Settled", Settled),
        section!("Verdict", Verdict),
        section!("Find", Find),
        section!("Breaker state", BreakerState),
        section!("Call result", CallResult),
        section!("Unavailable", Unavailable),
    ]
}

#[test]
fn every_status_word_is_in_the_glossary_and_no_other() {
    let glossary = include_str!("../../docs/GLOSSARY.md");
    for (title, words) in sections() {
        let section = glossary
            .split("\n## ")
            .find(|section| section.lines().next().is_some_and(|line| line.starts_with(title)));
        let explained: Vec<&str> = section
            .unwrap_or_default()
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
            .collect();
        assert_eq!(
            explained, words,
            "section {title}: the same words in the same order"
        );
    }
}
