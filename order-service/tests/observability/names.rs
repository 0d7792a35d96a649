//! The metrics themselves: which there are from the start, and that promtool finds nothing to say about them.

use std::collections::{BTreeMap, BTreeSet};

use crate::world::World;
use crate::{promtool, said};

/// Each metric of a scrape: its type and the names of its labels, and what it says.
fn metrics(scrape: &str) -> BTreeMap<String, String> {
    let mut labels: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut kinds = BTreeMap::new();
    let mut help = BTreeMap::new();
    for line in scrape.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            kinds.insert(name, kind);
        } else if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, text) = rest.split_once(' ').unwrap();
            help.insert(name, text);
        } else if let Some((series, _)) = line.rsplit_once(' ') {
            let (name, rest) = series.split_once('{').unwrap_or((series, ""));
            let found = labels.entry(name).or_default();
            // Values have neither quotes nor commas: they are words of closed lists, patterns and numbers.
            for label in rest.trim_end_matches('}').split(',') {
                found.extend(label.split_once('=').map(|(key, _)| key));
            }
        }
    }
    kinds
        .iter()
        .map(|(name, kind)| {
            let series = match *kind {
                "histogram" => format!("{name}_count"),
                _ => (*name).to_owned(),
            };
            let labels = labels.get(series.as_str()).cloned().unwrap_or_default();
            let labels: Vec<&str> = labels.into_iter().collect();
            let help = help.get(name).copied().unwrap_or("(nothing)");
            (
                (*name).to_owned(),
                format!("{kind} {{{}}} {help}", labels.join(", ")),
            )
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_is_there_from_the_start_says_what_it_means_and_is_named_as_it_should_be() {
    let world = World::start(&[]).await.unwrap();
    for service in [&world.product, &world.order] {
        let scrape = world.scrape(service).await.unwrap();
        let checked = promtool(&["check", "metrics"], &scrape);
        let said = said(&checked);
        assert!(checked.status.success() && said.trim().is_empty(), "{said}");
        assert!(!scrape.contains("quantile="), "a summary cannot be added up");
        let listed: String = metrics(&scrape)
            .iter()
            .map(|(name, rest)| format!("{name} {rest}\n"))
            .collect();
        insta::assert_snapshot!(format!("metrics_of_{}", service.name()), listed);
    }
}
