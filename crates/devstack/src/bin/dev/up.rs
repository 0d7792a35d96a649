//! `cargo dev up`.

use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use devstack::keys::{Keys, shown};
use devstack::servers::ServerKind;
use devstack::{Certificates, catalogue, stack_file};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::control;
use crate::keep::Keeper;
use crate::lock::StackLock;
use crate::prepare;
use crate::project::Project;
use crate::show::{self, Step};
use crate::stack::{Stack, Wanted};

#[derive(Args)]
pub(crate) struct UpArgs {
    /// Install what is missing (named before it is done), with apt-get or brew
    #[arg(long)]
    install: bool,
    /// Leave a server out, to see how the services do without it
    #[arg(long, value_enum)]
    without: Vec<Part>,
    /// Start what watches the stack too: Prometheus, and Grafana if it is on this machine
    #[arg(long, value_enum)]
    with: Vec<Extra>,
    /// Instances of each service, on distinct ports
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=32))]
    instances: u16,
    /// Ask callers for keys: random ones, written to `.dev/env`; without it nobody is asked
    #[arg(long)]
    auth: bool,
    /// Encrypt everything, with throw-away certificates in `.dev/tls`; `.dev/env` then names the authority as CA_FILE
    #[arg(long, conflicts_with = "with")]
    tls: bool,
    /// Build without optimisation: quicker to build, far slower to run
    #[arg(long)]
    debug: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Redis,
    Rabbitmq,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Extra {
    Observability,
}

/// Starts everything, keeps it up until Ctrl-C or SIGTERM, stops everything.
pub(crate) async fn run(args: &UpArgs) -> Result<()> {
    let project = Project::find()?;
    let dev_dir = project.dev_dir()?;
    let _lock = StackLock::take(&dev_dir)?;
    let stack_file = project.stack_file();
    // A killed predecessor may have left it.
    forget_stack_file(&stack_file);
    let mut stop_signal = std::pin::pin!(stop_signal()?);
    let stack = tokio::select! {
        stack = start(args, &project, &dev_dir) => stack?,
        // What is running already ends when its handles are dropped.
        name = &mut stop_signal => anyhow::bail!("{name} while starting"),
    };
    let stack = Arc::new(stack);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let chaos_address = listener.local_addr()?.to_string();
    let write_down = {
        let (stack, stack_file, is_writing) = (Arc::clone(&stack), stack_file.clone(), Mutex::new(()));
        move || {
            let _one_at_a_time = is_writing.lock();
            let mut entries = stack.entries();
            entries.push((control::ADDRESS_KEY.to_owned(), chaos_address.clone()));
            stack_file::write(&stack_file, &entries)
        }
    };
    write_down()?;
    present(&stack, &project);

    let keeper = Keeper::new(stack.breakable(), stack.parts(), write_down);
    let name = tokio::select! {
        name = &mut stop_signal => name,
        never = Arc::clone(&keeper).keep() => match never {},
        never = control::serve(listener, keeper) => match never {},
    };
    forget_stack_file(&stack_file);
    show::progress("");
    let step = Step::begin(&format!("{name}: stopping the services, then what they stand on"));
    stack.stop().await?;
    step.done();
    Ok(())
}

async fn start(args: &UpArgs, project: &Project, dev_dir: &Path) -> Result<Stack> {
    let wanted = Wanted {
        redis: !args.without.contains(&Part::Redis),
        rabbitmq: !args.without.contains(&Part::Rabbitmq),
        instances: args.instances,
        observability: args.with.contains(&Extra::Observability),
        keys: args.auth.then(Keys::random),
        tls: match args.tls {
            true => Some(Certificates::create(&dev_dir.join("tls"))?),
            false => None,
        },
    };
    let mut needed = vec![ServerKind::Postgres];
    needed.extend(wanted.redis.then_some(ServerKind::Redis));
    needed.extend(wanted.rabbitmq.then_some(ServerKind::RabbitMq));
    needed.extend(wanted.observability.then_some(ServerKind::Prometheus));
    prepare::ensure_installed(&needed, args.install).await?;
    show::progress("building both services (the first time this takes minutes)");
    let binaries = project
        .build(&["product-service", "order-service"], !args.debug)
        .await?;
    let stack = Stack::start(project.root(), dev_dir, &binaries, &wanted).await?;
    seed(&stack).await?;
    Ok(stack)
}

/// Two products to try things with, unless there are any.
async fn seed(stack: &Stack) -> Result<()> {
    let key = stack.keys.as_ref().map(|keys| keys.admin.as_str());
    let url = shown(&stack.products[0].url(), key);
    if catalogue::count_products(&url).await? > 0 {
        return Ok(());
    }
    let step = Step::begin("seeding two products");
    catalogue::create_product(&url, "Poster", 1_500, 1_000, false).await?;
    catalogue::create_product(&url, "Limited edition", 4_900, 100, true).await?;
    step.done();
    Ok(())
}

fn present(stack: &Stack, project: &Project) {
    let (url, orders) = (stack.products[0].url(), stack.orders[0].url());
    let header = |name| {
        let key = stack.keys.is_some();
        if key {
            format!(" -H \"Authorization: Bearer ${name}\"")
        } else {
            String::new()
        }
    };
    let (admin, service) = (header("ADMIN_KEY"), header("SERVICE_KEY"));
    let curl = match stack.tls {
        Some(_) => "curl --cacert \"$CA_FILE\"",
        None => "curl",
    };
    show::result(&format!("\n{}", show::table(&stack.rows(project.root()))));
    show::result("Create a product, take a unit of one, order one (202; the order is at its Location):\n");
    if stack.keys.is_some() || stack.tls.is_some() {
        show::result(&format!(". {}", project.stack_file().display()));
    }
    show::result(&format!(
        "{curl} -s -X POST {url}/v1/products{admin} -H 'Content-Type: application/json' \
         -d '{{\"name\":\"Limited edition\",\"price\":4900,\"stock\":100,\"stockStrategy\":\"REDIS_FIRST\"}}'"
    ));
    show::result(&format!(
        "{curl} -s -X PATCH {url}/v1/products/2/stock/decrease-by-order{service} -H 'Content-Type: application/json' \
         -H 'Idempotency-Key: DEC-1000000001' -d '{{\"orderId\":1000000001,\"quantity\":1,\"buyerId\":\"ada\"}}'"
    ));
    show::result(&format!(
        "{curl} -si -X POST {orders}/v2/orders{service} -H 'Content-Type: application/json' \
         -d '{{\"productId\":2,\"quantity\":1,\"buyerId\":\"ada\"}}'\n"
    ));
    show::result("A stampede (in another terminal):  cargo dev flash-sale --stock 100 --buyers 1000");
    show::result(
        "The same by way of orders:         cargo dev flash-sale --stock 100 --buyers 1000 --via v2",
    );
    show::result("The same while Redis dies:         cargo dev flash-sale --chaos redis-kill");
    show::result(&format!(
        "All addresses for scripts:         {}",
        project.stack_file().display()
    ));
    show::result("Ctrl-C stops everything.");
}

/// Resolves with the name of the signal that asks us to stop: Ctrl-C, SIGTERM, or the terminal going away.
fn stop_signal() -> Result<impl Future<Output = &'static str>> {
    let listen = |kind| signal(kind).context("cannot listen for signals");
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hangup = listen(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => "Ctrl-C",
            _ = terminate.recv() => "SIGTERM",
            _ = hangup.recv() => "SIGHUP",
        }
    })
}

fn forget_stack_file(path: &Path) {
    let _ = std::fs::remove_file(path);
}
