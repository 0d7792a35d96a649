//! Dashboards: the rules of Grafana's dashboard-linter that concern them, and what they ask, as a snapshot.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::text_of;

const DASHBOARDS: [&str; 3] = ["sale", "services", "dependencies"];

pub(crate) struct Query {
    pub(crate) place: String,
    pub(crate) expression: String,
}

fn dashboard(name: &str) -> Value {
    serde_json::from_str(&text_of(&format!("config/grafana/dashboards/{name}.json"))).unwrap()
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Every query of every panel, as it is written.
pub(crate) fn panel_queries() -> Vec<Query> {
    let mut queries = Vec::new();
    for name in DASHBOARDS {
        let dashboard = dashboard(name);
        for panel in list(&dashboard, "/panels") {
            for target in list(panel, "/targets") {
                queries.push(Query {
                    place: format!("{name} / {} / {}", text(panel, "/title"), text(target, "/refId")),
                    expression: text(target, "/expr").to_owned(),
                });
            }
        }
    }
    queries
}

/// Every query of every annotation.
pub(crate) fn annotation_queries() -> Vec<Query> {
    let mut queries = Vec::new();
    for name in DASHBOARDS {
        for annotation in list(&dashboard(name), "/annotations/list") {
            queries.push(Query {
                place: format!("{name} / annotation {}", text(annotation, "/name")),
                expression: text(annotation, "/expr").to_owned(),
            });
        }
    }
    queries
}

#[test]
fn dashboards_keep_the_rules_of_the_linter() {
    let mut faults = Vec::new();
    let mut uids = BTreeSet::new();
    for name in DASHBOARDS {
        let dashboard = dashboard(name);
        let mut fault = |what: String| faults.push(format!("{name}: {what}"));
        if !uids.insert(text(&dashboard, "/uid").to_owned()) || text(&dashboard, "/uid").is_empty() {
            fault("its uid is missing or taken".to_owned());
        }
        if dashboard["editable"] != false {
            fault("uneditable-dashboard: what is provisioned is not edited".to_owned());
        }
        variables(&dashboard, &mut fault);
        let annotations: Vec<&str> = list(&dashboard, "/annotations/list")
            .iter()
            .map(|annotation| text(annotation, "/name"))
            .collect();
        if annotations != ["Breaker open", "Sale"] {
            fault(format!("annotations {annotations:?}"));
        }
        let panels = list(&dashboard, "/panels");
        if !(12..=20).contains(&panels.len()) {
            fault(format!("{} panels", panels.len()));
        }
        for item in panels {
            panel(item, &mut fault);
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// template-datasource-rule, template-job-rule, template-instance-rule, template-on-time-change-reload-rule.
fn variables(dashboard: &Value, fault: &mut impl FnMut(String)) {
    let variables = list(dashboard, "/templating/list");
    let of = |name: &str| variables.iter().find(|variable| text(variable, "/name") == name);
    let datasource = of("datasource");
    if datasource.is_none_or(|variable| {
        text(variable, "/type") != "datasource"
            || text(variable, "/query") != "prometheus"
            || text(variable, "/label") != "Data source"
    }) {
        fault("template-datasource-rule".to_owned());
    }
    for name in ["job", "instance"] {
        if of(name).is_none_or(|variable| {
            text(variable, "/type") != "query"
                || text(variable, "/datasource/uid") != "${datasource}"
                || text(variable, "/label") != name
                || variable["multi"] != true
                || text(variable, "/allValue") != ".+"
        }) {
            fault(format!("template-{name}-rule"));
        }
    }
    for variable in variables
        .iter()
        .filter(|variable| text(variable, "/type") == "query")
    {
        if variable["refresh"] != 2 {
            fault(format!(
                "template-on-time-change-reload-rule: {}",
                text(variable, "/name")
            ));
        }
    }
}

/// panel-datasource-rule, panel-title-description-rule, panel-units-rule, panel-no-targets-rule, target-job-rule,
/// target-instance-rule, target-rate-interval-rule, target-counter-agg-rule. (target-promql-rule: Prometheus itself says so.)
fn panel(panel: &Value, fault: &mut impl FnMut(String)) {
    let title = text(panel, "/title").to_owned();
    let mut fault = |what: &str| fault(format!("{title:?}: {what}"));
    if text(panel, "/datasource/uid") != "${datasource}" {
        fault("panel-datasource-rule");
    }
    if title.is_empty() || text(panel, "/description").len() < 20 {
        fault("panel-title-description-rule");
    }
    if text(panel, "/fieldConfig/defaults/unit").is_empty() {
        fault("panel-units-rule");
    }
    if list(panel, "/fieldConfig/defaults/thresholds/steps").is_empty() {
        fault("no thresholds");
    }
    if list(panel, "/targets").is_empty() {
        fault("panel-no-targets-rule");
    }
    for target in list(panel, "/targets") {
        let expression = text(target, "/expr");
        if text(target, "/datasource/uid") != "${datasource}" {
            fault("panel-datasource-rule of a target");
        }
        let selectors: Vec<&str> = expression
            .split('{')
            .skip(1)
            .filter_map(|rest| rest.split_once('}').map(|(selector, _)| selector))
            .collect();
        if selectors.is_empty() || !selectors.iter().all(|it| it.contains("job=~\"$job\"")) {
            fault("target-job-rule");
        }
        if !selectors.iter().all(|it| it.contains("instance=~\"$instance\"")) {
            fault("target-instance-rule");
        }
        if expression.matches("}[").count() != expression.matches("[$__rate_interval]").count() {
            fault("target-rate-interval-rule");
        }
        for counter in ["_total{", "_bucket{", "_count{", "_sum{"] {
            let counted = expression.matches(counter).count();
            let rated = expression
                .split(['(', ' '])
                .zip(expression.split(['(', ' ']).skip(1))
                .filter(|(call, name)| matches!(*call, "rate" | "increase") && name.contains(counter))
                .count();
            if counted != rated {
                fault("target-counter-agg-rule");
            }
        }
    }
}

#[test]
fn what_the_dashboards_ask() {
    let queries: String = panel_queries()
        .iter()
        .chain(&annotation_queries())
        .map(|query| format!("{}\n    {}\n", query.place, query.expression))
        .collect();
    insta::assert_snapshot!("queries_of_the_dashboards", queries);
}
