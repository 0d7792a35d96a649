//! The running stack: the stores, the broker and the instances of both services.

use std::path::Path;

use anyhow::{Context, Result, bail};
use devstack::chaos::Servers;
use devstack::keys::Keys;
use devstack::stack_file::CA_FILE;
use devstack::{
    Certificates, Durability, Postgres, PostgresOptions, RabbitMq, RabbitMqOptions, Redis, RedisOptions,
    Server, Service, ServiceOptions, ports,
};
use tokio::task::JoinSet;

use crate::observe::Observability;
use crate::show::Step;

/// Ports of the first instance, public and admin, if they are free.
const PRODUCT_PORTS: [u16; 2] = [8081, 9081];
const ORDER_PORTS: [u16; 2] = [8080, 9080];

/// Everything that runs.
pub(crate) struct Stack {
    pub(crate) postgres: Postgres,
    pub(crate) redis: Option<Redis>,
    pub(crate) rabbitmq: Option<RabbitMq>,
    observability: Option<Observability>,
    pub(crate) products: Vec<Service>,
    pub(crate) orders: Vec<Service>,
    pub(crate) keys: Option<Keys>,
    pub(crate) tls: Option<Certificates>,
    product_database_url: String,
    order_database_url: String,
}

/// What is to be part of the stack.
pub(crate) struct Wanted {
    pub(crate) redis: bool,
    pub(crate) rabbitmq: bool,
    /// Of each service.
    pub(crate) instances: u16,
    /// Prometheus, and Grafana if there is one.
    pub(crate) observability: bool,
    /// What the services ask for; `None`: nothing.
    pub(crate) keys: Option<Keys>,
    /// What everything shows, and then nothing goes in the clear.
    pub(crate) tls: Option<Certificates>,
}

impl Stack {
    /// Starts everything; returns when everything answers. RabbitMQ takes several seconds: the services connect to it
    /// once it is there.
    pub(crate) async fn start(root: &Path, dev_dir: &Path, binaries: &Path, wanted: &Wanted) -> Result<Self> {
        // Without a server nobody listens on its port: the way the services run when it is gone.
        let amqp_port = ports::free_port()?;
        let amqp_url = RabbitMq::url_at(amqp_port, wanted.tls.is_some());
        let (stack, rabbitmq) = tokio::try_join!(
            Self::start_services(dev_dir, binaries, wanted, &amqp_url),
            start_rabbitmq(dev_dir, wanted.rabbitmq.then_some(amqp_port), wanted.tls.as_ref()),
        )?;
        let services = stack.products.iter().chain(&stack.orders);
        let observability = match wanted.observability {
            true => Some(Observability::start(root, dev_dir, services).await?),
            false => None,
        };
        Ok(Self {
            rabbitmq,
            observability,
            ..stack
        })
    }

    /// The stores, then the services, which migrate their databases themselves.
    async fn start_services(
        dev_dir: &Path,
        binaries: &Path,
        wanted: &Wanted,
        amqp_url: &str,
    ) -> Result<Self> {
        let step = Step::begin(if wanted.redis {
            "starting Postgres and Redis"
        } else {
            "starting Postgres"
        });
        let (postgres, redis) =
            tokio::try_join!(start_postgres(dev_dir, wanted), start_redis(dev_dir, wanted))?;
        let product_roles = postgres.create_database_with_roles("product").await?;
        let order_roles = postgres.create_database_with_roles("order").await?;
        step.done();

        let step = Step::begin("starting the services (they migrate their databases)");
        let redis_url = gate_url(redis.as_ref(), wanted)?;
        // Chosen here, since each service is told where the other is.
        let [public, admin] = ORDER_PORTS.map(ports::free_port_preferring);
        let order_ports = [public?, admin?];
        let product = ServiceOptions::new("product-service", binaries.join("product-service"))
            .database_url(&product_roles.app)
            .env("HOTSTOCK__DATABASE__OWNER_URL", &product_roles.owner)
            .redis_url(&redis_url)
            .amqp_url(amqp_url)
            .env("HOTSTOCK__SALE__ORDERS_URL", &wanted.url(order_ports[0]))
            .env(
                "HOTSTOCK__CONSOLE__OTHER_URL",
                &console_url(&wanted.url(order_ports[1])),
            );
        let product = guarded(product, wanted.keys.as_ref());
        let product = encrypted(
            product,
            wanted.tls.as_ref(),
            &["DATABASE", "REDIS", "RABBITMQ", "SALE"],
        );
        let products = start_instances(
            dev_dir,
            product,
            "product-service",
            PRODUCT_PORTS,
            wanted.instances,
        )
        .await?;
        let order = ServiceOptions::new("order-service", binaries.join("order-service"))
            .database_url(&order_roles.app)
            .env("HOTSTOCK__DATABASE__OWNER_URL", &order_roles.owner)
            .amqp_url(amqp_url)
            .env("HOTSTOCK__PRODUCT__URL", &products[0].url())
            .env(
                "HOTSTOCK__CONSOLE__OTHER_URL",
                &console_url(&products[0].admin_url()),
            );
        let order = guarded(order, wanted.keys.as_ref());
        let order = encrypted(order, wanted.tls.as_ref(), &["DATABASE", "RABBITMQ", "PRODUCT"]);
        let order = match &wanted.keys {
            Some(keys) => order.env("HOTSTOCK__PRODUCT__KEY", &keys.service),
            None => order,
        };
        let orders = start_instances(dev_dir, order, "order-service", order_ports, wanted.instances).await?;
        step.done();
        Ok(Self {
            redis,
            rabbitmq: None,
            observability: None,
            products,
            orders,
            keys: wanted.keys.clone(),
            tls: wanted.tls.clone(),
            product_database_url: postgres.url("product"),
            order_database_url: postgres.url("order"),
            postgres,
        })
    }

    /// What it is and where, for `.dev/env`.
    pub(crate) fn entries(&self) -> Vec<(String, String)> {
        let mut entries = Vec::new();
        let mut put = |key: &str, value: String| entries.push((key.to_owned(), value));
        for (name, services) in [("PRODUCT", &self.products), ("ORDER", &self.orders)] {
            put(&format!("{name}_URL"), services[0].url());
            put(&format!("{name}_ADMIN_URL"), services[0].admin_url());
            put(
                &format!("{name}_URLS"),
                services.iter().map(Service::url).collect::<Vec<_>>().join(","),
            );
            put(
                &format!("{name}_ADMIN_URLS"),
                services
                    .iter()
                    .map(Service::admin_url)
                    .collect::<Vec<_>>()
                    .join(","),
            );
            put(&format!("PID_{name}_SERVICE"), services[0].pid().to_string());
        }
        if let Some(keys) = &self.keys {
            put("ADMIN_KEY", keys.admin.clone());
            put("SERVICE_KEY", keys.service.clone());
            put("CUSTOMER_KEY", keys.customer.clone());
        }
        if let Some(tls) = &self.tls {
            put(CA_FILE, tls.ca_file.display().to_string());
        }
        put("PRODUCT_DATABASE_URL", self.product_database_url.clone());
        put("ORDER_DATABASE_URL", self.order_database_url.clone());
        put("PID_POSTGRES", self.postgres.pid().to_string());
        if let Some(redis) = &self.redis {
            put("REDIS_URL", redis.url());
            put("PID_REDIS", redis.pid().to_string());
        }
        if let Some(rabbitmq) = &self.rabbitmq {
            put("AMQP_URL", rabbitmq.url());
            put("PID_RABBITMQ", rabbitmq.pid().to_string());
        }
        entries.extend(self.observability.iter().flat_map(Observability::entries));
        entries
    }

    /// The table for people: what, url, pid, data, log. Paths inside `root` are shown relative to it.
    pub(crate) fn rows(&self, root: &Path) -> Vec<Vec<String>> {
        let shown = |path: &Path| path.strip_prefix(root).unwrap_or(path).display().to_string();
        let mut rows = vec![["what", "URL", "pid", "data", "log"].map(str::to_owned).to_vec()];
        let mut put = |what: &str, url: String, server: &Server, data: String| {
            let log = shown(server.log_path());
            rows.push(vec![what.to_owned(), url, server.pid().to_string(), data, log]);
        };
        for service in self.products.iter().chain(&self.orders) {
            put(service.name(), service.url(), service, String::from("-"));
            put("  admin", service.admin_url(), service, String::from("-"));
            put(
                "  console",
                console_url(&service.admin_url()),
                service,
                String::from("-"),
            );
        }
        let data = shown(self.postgres.data_dir());
        put(
            "Postgres, products",
            self.product_database_url.clone(),
            &self.postgres,
            data.clone(),
        );
        put(
            "Postgres, orders",
            self.order_database_url.clone(),
            &self.postgres,
            data,
        );
        if let Some(redis) = &self.redis {
            put("Redis", redis.url(), redis, String::from("in memory"));
        }
        if let Some(rabbitmq) = &self.rabbitmq {
            put("RabbitMQ", rabbitmq.url(), rabbitmq, shown(rabbitmq.data_dir()));
        }
        for (name, url, server, data) in self.observability.iter().flat_map(Observability::servers) {
            put(name, url, server, shown(data));
        }
        rows
    }

    /// Every process with its name.
    pub(crate) fn parts(&self) -> Vec<(String, Server)> {
        let mut parts = vec![(String::from("Postgres"), Server::clone(&self.postgres))];
        parts.extend(
            self.redis
                .iter()
                .map(|redis| (String::from("Redis"), Server::clone(redis))),
        );
        let rabbitmq = self.rabbitmq.iter();
        parts.extend(rabbitmq.map(|rabbitmq| (String::from("RabbitMQ"), Server::clone(rabbitmq))));
        for services in [&self.products, &self.orders] {
            let named = services.iter().enumerate().map(|(index, service)| {
                let name = if services.len() == 1 {
                    service.name().to_owned()
                } else {
                    format!("{} {}", service.name(), index + 1)
                };
                (name, Server::clone(service))
            });
            parts.extend(named);
        }
        let watching = self.observability.iter().flat_map(Observability::servers);
        parts.extend(watching.map(|(name, _, server, _)| (name.to_owned(), server.clone())));
        parts
    }

    /// What can be broken on purpose.
    pub(crate) fn breakable(&self) -> Servers {
        Servers {
            redis: self.redis.clone(),
            rabbitmq: self.rabbitmq.clone(),
            postgres: self.postgres.clone(),
            database_url: self.product_database_url.clone(),
            instances: self.products.clone(),
        }
    }

    /// Stops the services, which drain, and only then what they stand on.
    pub(crate) async fn stop(&self) -> Result<()> {
        if let Some(observability) = &self.observability {
            observability.stop().await?;
        }
        let mut stopping = JoinSet::new();
        for service in self.products.iter().chain(&self.orders) {
            let service = service.clone();
            stopping.spawn(async move {
                // Who has ended before was reported then, and is no failure of stopping.
                match service.stop().await? {
                    None | Some(0) => Ok(()),
                    Some(code) => bail!(
                        "{} ended with status {code}\n{}",
                        service.name(),
                        service.log_tail()
                    ),
                }
            });
        }
        // A service that ended badly is an error, after the rest has been stopped too.
        let ends = stopping.join_all().await;
        if let Some(redis) = &self.redis {
            redis.stop().await?;
        }
        if let Some(rabbitmq) = &self.rabbitmq {
            rabbitmq.stop().await?;
        }
        self.postgres.stop().await?;
        ends.into_iter().collect()
    }
}

/// Where the gate's Redis is; a place where none is, without one.
fn gate_url(redis: Option<&Redis>, wanted: &Wanted) -> Result<String> {
    if let Some(redis) = redis {
        return Ok(redis.gate_url());
    }
    let scheme = if wanted.tls.is_some() { "rediss" } else { "redis" };
    Ok(format!("{scheme}://127.0.0.1:{}/0", ports::free_port()?))
}

async fn start_postgres(dev_dir: &Path, wanted: &Wanted) -> Result<Postgres> {
    let dir = dev_dir.join("postgres");
    forget_log(&dir.join("postgres.log"));
    let options = PostgresOptions {
        dir: Some(dir),
        durability: Durability::Full,
        tls: wanted.tls.clone(),
        ..Default::default()
    };
    Postgres::start(options).await
}

async fn start_redis(dev_dir: &Path, wanted: &Wanted) -> Result<Option<Redis>> {
    if !wanted.redis {
        return Ok(None);
    }
    let dir = dev_dir.join("redis");
    forget_log(&dir.join("redis.log"));
    let options = RedisOptions {
        dir: Some(dir),
        gate_user: true,
        tls: wanted.tls.clone(),
        ..Default::default()
    };
    Redis::start(options).await.map(Some)
}

async fn start_rabbitmq(
    dev_dir: &Path,
    port: Option<u16>,
    tls: Option<&Certificates>,
) -> Result<Option<RabbitMq>> {
    if port.is_none() {
        return Ok(None);
    }
    let step = Step::begin("starting RabbitMQ, beside the others");
    let dir = dev_dir.join("rabbitmq");
    forget_log(&dir.join("rabbitmq.log"));
    let options = RabbitMqOptions {
        dir: Some(dir),
        port,
        tls: tls.cloned(),
    };
    let rabbitmq = RabbitMq::start(options).await?;
    step.done();
    Ok(Some(rabbitmq))
}

fn guarded(options: ServiceOptions, keys: Option<&Keys>) -> ServiceOptions {
    let settings = keys.map(Keys::settings).into_iter().flatten();
    settings.fold(options, |options, (key, value)| options.env(key, &value))
}

async fn start_instances(
    dev_dir: &Path,
    options: ServiceOptions,
    name: &str,
    [port, admin_port]: [u16; 2],
    instances: u16,
) -> Result<Vec<Service>> {
    let mut starting = JoinSet::new();
    for instance in 1..=instances {
        let dir = dev_dir.join(format!("{name}-{instance}"));
        forget_log(&dir.join(format!("{name}.log")));
        let mut options = options.clone().log_dir(dir);
        if instance == 1 {
            options = options.preferred_port(port).preferred_admin_port(admin_port);
        }
        starting.spawn(async move { (instance, Service::start(options).await) });
    }
    let mut started = starting.join_all().await;
    started.sort_by_key(|(instance, _)| *instance);
    started
        .into_iter()
        .map(|(_, service)| service)
        .collect::<Result<_>>()
        .with_context(|| name.to_owned())
}

impl Wanted {
    /// Of a service of the stack.
    fn url(&self, port: u16) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{port}")
    }
}

/// Speaks TLS to everybody, and believes the stack's own authority in these sections.
fn encrypted(options: ServiceOptions, tls: Option<&Certificates>, sections: &[&str]) -> ServiceOptions {
    let Some(tls) = tls else {
        return options;
    };
    let ca_file = tls.ca_file.to_string_lossy();
    sections.iter().fold(options.tls(tls), |options, section| {
        options.env(&format!("HOTSTOCK__{section}__CA_FILE"), &ca_file)
    })
}

fn console_url(admin_url: &str) -> String {
    format!("{admin_url}/console")
}

/// The last run's lines would only confuse in this run's error messages.
fn forget_log(path: &Path) {
    let _ = std::fs::remove_file(path);
}
