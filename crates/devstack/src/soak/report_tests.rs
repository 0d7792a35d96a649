use super::*;

/// Half an hour of one instance, with so much more after every sample.
fn report(leak_bytes: u64, leaked_descriptors: u64, samples: u32) -> Report {
    let sample = |n: u32| Sample {
        at_s: f64::from(n) * 10.0,
        rss_bytes: 60_000_000 + leak_bytes * u64::from(n),
        connections: 0,
        descriptors: 50 + leaked_descriptors * u64::from(n),
        threads: 12,
    };
    let store: Vec<(f64, f64)> = (0..samples).map(|n| (f64::from(n), 20.0)).collect();
    Report {
        instances: 2,
        lasts: Duration::from_secs(1_800),
        measured: [1.0; LANES.len()],
        rates: [0.5; LANES.len()],
        samples: Samples {
            lives: vec![Life {
                name: String::from("product-service 1"),
                pid: 7,
                samples: (0..samples).map(sample).collect(),
            }],
            stores: crate::soak::sample::Stores {
                redis_bytes: store.clone(),
                remembered: store.clone(),
                connections: store,
            },
        },
        restarts: Vec::new(),
        sold: Sold {
            verdicts: Vec::new(),
            restocked: 0,
        },
        failures: Failures::default(),
    }
}

fn crossed(report: &Report) -> Vec<String> {
    let findings = report.findings().into_iter();
    let crossed = findings.filter(|finding| finding.is_crossed);
    crossed.map(|finding| finding.what).collect()
}

#[test]
fn what_grows_fails_and_so_does_what_was_not_measured() {
    assert_eq!(crossed(&report(0, 0, 180)), [""; 0]);
    assert_eq!(
        crossed(&report(200_000, 0, 180)),
        ["product-service 1 (pid 7): memory"]
    );
    assert_eq!(
        crossed(&report(0, 1, 180)),
        ["product-service 1 (pid 7): descriptors"]
    );
    let unmeasured = crossed(&report(0, 0, 5));
    assert_eq!(unmeasured.len(), 5, "{unmeasured:?}");
    assert!(report(0, 1, 180).to_string().contains("CROSSED"));
}

#[test]
fn redis_may_grow_with_what_is_sold_and_no_more() {
    let growing = |bytes_per_id: f64| {
        let mut report = report(0, 0, 180);
        let stores = &mut report.samples.stores;
        let ids = |n: u32| f64::from(n) * 5_000.0;
        stores.remembered = (0..180).map(|n| (f64::from(n), ids(n))).collect();
        stores.redis_bytes = (0..180)
            .map(|n| (f64::from(n), 2e6 + ids(n) * bytes_per_id))
            .collect();
        crossed(&report)
    };
    assert_eq!(growing(77.0), [""; 0]);
    assert_eq!(growing(130.0).len(), 1);
}

#[test]
fn an_answer_of_a_balancer_itself_fails() {
    let failing = Report {
        failures: Failures {
            unserved: 0,
            broken: 1,
        },
        ..report(0, 0, 180)
    };
    assert_eq!(crossed(&failing), ["answers of the balancers themselves"]);
}
