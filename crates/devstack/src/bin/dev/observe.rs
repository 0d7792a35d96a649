//! `--with observability`: Prometheus, and Grafana where it is on the machine, on the running stack.

use std::path::Path;

use anyhow::Result;
use devstack::servers::{Grafana, GrafanaOptions};
use devstack::{Prometheus, PrometheusOptions, Server, Service, Target};

use crate::show::{self, Step};

const PROMETHEUS_PORT: u16 = 9090;
const GRAFANA_PORT: u16 = 3000;

/// What watches the stack.
pub(crate) struct Observability {
    prometheus: Prometheus,
    grafana: Option<Grafana>,
}

impl Observability {
    /// Starts it on these services; returns when it answers.
    pub(crate) async fn start<'a>(
        root: &Path,
        dev_dir: &Path,
        services: impl Iterator<Item = &'a Service>,
    ) -> Result<Self> {
        let step = Step::begin("starting Prometheus, and Grafana if there is one");
        let prometheus = Prometheus::start(PrometheusOptions {
            dir: Some(dev_dir.join("prometheus")),
            config: root.join("config/prometheus"),
            targets: services.map(target).collect(),
            interval: None,
            preferred_port: Some(PROMETHEUS_PORT),
        })
        .await?;
        let grafana = Grafana::start(GrafanaOptions {
            dir: dev_dir.join("grafana"),
            config: root.join("config/grafana"),
            prometheus_url: prometheus.url(),
            preferred_port: Some(GRAFANA_PORT),
        })
        .await?;
        step.done();
        if grafana.is_none() {
            show::progress("no Grafana on this machine: docker compose has one, see docs/OPERATIONS.md");
        }
        Ok(Self { prometheus, grafana })
    }

    /// Where it is, for `.dev/env`.
    pub(crate) fn entries(&self) -> Vec<(String, String)> {
        let mut entries = vec![
            ("PROMETHEUS_URL".to_owned(), self.prometheus.url()),
            ("PID_PROMETHEUS".to_owned(), self.prometheus.pid().to_string()),
        ];
        if let Some(grafana) = &self.grafana {
            entries.push(("GRAFANA_URL".to_owned(), grafana.url()));
            entries.push(("PID_GRAFANA".to_owned(), grafana.pid().to_string()));
        }
        entries
    }

    /// Each server with its name, its URL and its data folder.
    pub(crate) fn servers(&self) -> Vec<(&'static str, String, &Server, &Path)> {
        let prometheus = &self.prometheus;
        let mut servers = vec![(
            "Prometheus",
            prometheus.url(),
            &**prometheus,
            prometheus.data_dir(),
        )];
        if let Some(grafana) = &self.grafana {
            servers.push(("Grafana", grafana.url(), grafana, grafana.data_dir()));
        }
        servers
    }

    pub(crate) async fn stop(&self) -> Result<()> {
        if let Some(grafana) = &self.grafana {
            grafana.stop().await?;
        }
        self.prometheus.stop().await?;
        Ok(())
    }
}

fn target(service: &Service) -> Target {
    Target {
        job: service.name().to_owned(),
        url: service.admin_url(),
    }
}
