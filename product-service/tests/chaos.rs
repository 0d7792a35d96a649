//! Random faults in the middle of a sale on three instances, from two seeds: a short `cargo dev chaos run`.

use std::path::Path;
use std::sync::Arc;

use devstack::chaos::ChaosRun;

/// Between them, these break Redis, Postgres, the ways to both, and an instance.
const SEEDS: [u64; 2] = [26, 51];

#[tokio::test(flavor = "multi_thread")]
async fn every_promise_is_kept_whatever_two_seeds_break() {
    for seed in SEEDS {
        // Left there for whoever has to find out.
        let log_dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("chaos-seed-{seed}"));
        let run = ChaosRun {
            program: env!("CARGO_BIN_EXE_product-service").into(),
            seed,
            seconds: 6,
            log_dir: log_dir.clone(),
            progress: Arc::default(),
        };
        let report = run.run().await.unwrap();
        println!("{report}");
        let found = report.violations.join("\n");
        assert!(report.is_true(), "{report}\n{found}\nlogs: {}", log_dir.display());
        assert!(report.faults_made().hit > 0 && report.sales > 0, "{report}");
    }
}
