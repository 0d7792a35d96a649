//! A soak of seconds: the same as `cargo dev soak`, as far as seconds can show it. Instances of both services are restarted
//! while customers order by both ways, decrease and cancel.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use devstack::program_beside;
use devstack::soak::SoakRun;

use crate::fixture::TestResult;

const ORDER_SERVICE: &str = env!("CARGO_BIN_EXE_order-service");

#[tokio::test(flavor = "multi_thread")]
async fn a_short_soak_restarts_both_services_and_nobody_is_left_without_an_answer() -> TestResult {
    let product_service = program_beside(ORDER_SERVICE, "product-service").await?;
    let dir = tempfile::tempdir()?;
    let run = SoakRun {
        binaries: product_service
            .parent()
            .map(Path::to_path_buf)
            .context("a folder")?,
        instances: 2,
        measuring: Duration::from_secs(1),
        lasts: Duration::from_secs(8),
        rate_per_second: Some(60.0),
        // So few that they have to be restocked.
        stock: 50,
        restart_every: Duration::from_secs(2),
        sample_every: Duration::from_millis(200),
        is_on_shared_servers: true,
        dir: dir.path().join("soak"),
        progress: Arc::default(),
    };
    let report = run.run().await?;
    assert!(report.are_books_true(), "{report}");
    assert!(report.sold.restocked > 0, "{report}");
    let restarted: Vec<&str> = report
        .restarts
        .iter()
        .map(|restart| restart.name.as_str())
        .collect();
    assert!(
        restarted.starts_with(&["product-service 1", "order-service 1"]),
        "{report}"
    );
    let findings = report.findings();
    for must_be_kept in [
        "requests without an answer",
        "answers of the balancers themselves",
    ] {
        let finding = findings.iter().find(|finding| finding.what == must_be_kept);
        let finding = finding.context(must_be_kept)?;
        assert!(!finding.is_crossed, "{finding:?}\n{report}");
    }
    for verdict in &report.sold.verdicts {
        assert!(verdict.tally.sales() > 10, "{report}");
    }
    // What it has seen is there for programs and for people.
    let json = report.json();
    assert_eq!(json["books_are_true"], true);
    let lives = json["samples"]["lives"].as_array().context("lives")?;
    assert!(lives.len() > 5, "those of the restarted are new ones: {lives:#?}");
    assert!(report.page().html().contains("product-service 2"));
    Ok(())
}
