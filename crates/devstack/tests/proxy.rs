//! The fault proxy, in front of a server that says everything back.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use devstack::proxy::{Fault, Hits, Proxy};
use devstack::wait_for;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

type TestResult = Result<()>;

const PATIENCE: Duration = Duration::from_secs(10);
/// Long enough to see that nothing comes.
const NOTHING: Duration = Duration::from_millis(150);

/// A proxy in front of a server that says back whatever it is told.
async fn echo() -> Result<Proxy> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let proxy = Proxy::start(listener.local_addr()?)?;
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = client.split();
                tokio::io::copy(&mut from, &mut to).await.ok();
            });
        }
    });
    Ok(proxy)
}

async fn connect(proxy: &Proxy) -> Result<TcpStream> {
    Ok(TcpStream::connect(("127.0.0.1", proxy.port())).await?)
}

/// Says something and hears what comes back.
async fn say(stream: &mut TcpStream, words: &[u8]) -> Result<Vec<u8>> {
    stream.write_all(words).await?;
    let mut heard = vec![0; words.len()];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut heard)).await??;
    Ok(heard)
}

/// How the next read ends: `None` when nothing comes.
async fn next_read(stream: &mut TcpStream) -> Option<std::io::Result<usize>> {
    let mut buffer = [0; 64];
    tokio::time::timeout(NOTHING, stream.read(&mut buffer)).await.ok()
}

/// Waits until a connection that exists is reset.
async fn expect_reset(stream: &mut TcpStream) -> TestResult {
    let mut buffer = [0; 64];
    match tokio::time::timeout(PATIENCE, stream.read(&mut buffer)).await? {
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(()),
        other => bail!("not reset: {other:?}"),
    }
}

#[tokio::test]
async fn without_a_fault_everything_passes() -> TestResult {
    let proxy = echo().await?;
    let mut stream = connect(&proxy).await?;
    let words = vec![7; 300_000];
    let (mut from, mut to) = stream.split();
    let mut heard = vec![0; words.len()];
    tokio::try_join!(to.write_all(&words), async {
        from.read_exact(&mut heard).await.map(drop)
    })?;
    assert_eq!(heard, words);
    assert_eq!(proxy.hits(), Hits::default());
    assert_eq!(
        proxy.url("redis://:secret@localhost:1/3")?,
        format!("redis://:secret@127.0.0.1:{}/3", proxy.port())
    );
    Ok(())
}

#[tokio::test]
async fn refusing_resets_what_exists_and_keeps_the_port() -> TestResult {
    let proxy = echo().await?;
    let mut stream = connect(&proxy).await?;
    say(&mut stream, b"before").await?;
    for _ in 0..3 {
        proxy.set(Fault::Refuse);
        wait_for("a refusal", PATIENCE, || async {
            match connect(&proxy).await {
                Ok(_) => Err("connected".to_owned()),
                Err(_) => Ok(()),
            }
        })
        .await?;
        proxy.set(Fault::Pass);
        wait_for("a connection", PATIENCE, || async {
            connect(&proxy).await.map(drop).map_err(|error| error.to_string())
        })
        .await?;
    }
    expect_reset(&mut stream).await?;
    assert!(proxy.hits().connections >= 1);
    say(&mut connect(&proxy).await?, b"after").await?;
    Ok(())
}

#[tokio::test]
async fn a_reset_hits_old_and_new_connections() -> TestResult {
    let proxy = echo().await?;
    let mut old = connect(&proxy).await?;
    say(&mut old, b"before").await?;
    proxy.set(Fault::Reset);
    expect_reset(&mut old).await?;
    expect_reset(&mut connect(&proxy).await?).await?;
    assert_eq!(proxy.hits().connections, 2);
    proxy.set(Fault::Pass);
    say(&mut connect(&proxy).await?, b"after").await?;
    Ok(())
}

#[tokio::test]
async fn what_has_swallowed_bytes_is_reset_when_the_fault_ends() -> TestResult {
    for fault in [Fault::Silence, Fault::DropReplies] {
        let proxy = echo().await?;
        let (mut talks, mut listens) = (connect(&proxy).await?, connect(&proxy).await?);
        say(&mut listens, b"before").await?;
        say(&mut talks, b"before").await?;
        proxy.set(fault.clone());
        talks.write_all(b"anybody?").await?;
        assert!(next_read(&mut talks).await.is_none(), "{fault:?}");
        let hit = Hits {
            connections: 1,
            bytes: 8,
        };
        assert_eq!(proxy.hits(), hit, "{fault:?}");
        proxy.set(Fault::Pass);
        expect_reset(&mut talks).await?;
        // This one has lost nothing.
        say(&mut listens, b"after").await?;
    }
    Ok(())
}

#[tokio::test]
async fn replies_are_late_within_the_range() -> TestResult {
    let proxy = echo().await?;
    let mut stream = connect(&proxy).await?;
    proxy.set(Fault::Latency(40..=60));
    for _ in 0..3 {
        let asked = Instant::now();
        say(&mut stream, b"late").await?;
        assert!(
            asked.elapsed() >= Duration::from_millis(40),
            "{:?}",
            asked.elapsed()
        );
    }
    assert_eq!(
        proxy.hits(),
        Hits {
            connections: 1,
            bytes: 12
        }
    );
    Ok(())
}

#[tokio::test]
async fn replies_are_cut_off_after_so_many_bytes() -> TestResult {
    let proxy = echo().await?;
    let mut stream = connect(&proxy).await?;
    say(&mut stream, b"before").await?;
    proxy.set(Fault::CutAfter(10));
    assert_eq!(say(&mut stream, b"12345678").await?, b"12345678");
    stream.write_all(b"90abc").await?;
    let mut rest = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await??;
    assert_eq!(rest, b"90");
    let hit = Hits {
        connections: 1,
        bytes: 3,
    };
    assert_eq!(proxy.hits(), hit);
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_away_looks_away_and_can_come_back() -> TestResult {
    let holder = TcpListener::bind("127.0.0.1:0").await?;
    let upstream = holder.local_addr()?;
    drop(holder);
    let proxy = Proxy::start(upstream)?;
    expect_reset(&mut connect(&proxy).await?).await?;
    let listener = TcpListener::bind(upstream).await?;
    let mut stream = connect(&proxy).await?;
    stream.write_all(b"hello").await?;
    let (mut server, _) = listener.accept().await?;
    let mut heard = [0; 5];
    server.read_exact(&mut heard).await?;
    assert_eq!(&heard, b"hello");
    drop(proxy);
    expect_end(&mut stream).await
}

#[tokio::test]
async fn led_to_another_server_it_resets_what_leads_to_the_old_one() -> TestResult {
    let old = TcpListener::bind("127.0.0.1:0").await?;
    let new = TcpListener::bind("127.0.0.1:0").await?;
    let proxy = Proxy::start(old.local_addr()?)?;
    let mut before = connect(&proxy).await?;
    let _old_server = old.accept().await?;
    proxy.retarget(new.local_addr()?);
    expect_reset(&mut before).await?;
    let mut after = connect(&proxy).await?;
    let (mut new_server, _) = new.accept().await?;
    after.write_all(b"hello").await?;
    let mut heard = [0; 5];
    new_server.read_exact(&mut heard).await?;
    assert_eq!(&heard, b"hello");
    Ok(())
}

/// Waits until a connection ends, however.
async fn expect_end(stream: &mut TcpStream) -> TestResult {
    let mut buffer = [0; 8];
    match tokio::time::timeout(PATIENCE, stream.read(&mut buffer)).await? {
        Ok(0) | Err(_) => Ok(()),
        Ok(length) => bail!("{length} bytes came"),
    }
}
