//! HTTPS on both listeners, over real sockets.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use devstack::{Certificates, wait_for};
use http::Method;
use platform::config::{Secret, ServerConfig, ServerTlsConfig};
use platform::http::health::Health;
use platform::http_client::{HttpClient, NoAnswer, Peer};

use super::{Running, config, start};

const PATIENCE: Duration = Duration::from_secs(30);
/// More than actix's own limit of handshakes per thread.
const SILENT: usize = 300;

fn encrypted(certificates: &Certificates, admin: bool) -> Running {
    let config = ServerConfig {
        workers: 1,
        tls: ServerTlsConfig {
            cert_file: certificates.cert_file.clone(),
            key_file: certificates.key_file.clone(),
            admin,
        },
        ..config()
    };
    start(&config, Health::builder().build())
}

async fn livez(url: &str, ca_file: &Path) -> Result<u16, NoAnswer> {
    let client = HttpClient::new(Peer {
        url: &Secret::new(url),
        url_key: "product.url",
        ca_file,
        ca_key: "product.ca_file",
        connect_timeout: PATIENCE,
    });
    let client = client.unwrap();
    let request = client.request(Method::GET, "/livez").body(Bytes::new()).unwrap();
    Ok(client.send(request, PATIENCE).await?.status().as_u16())
}

/// What is answered to these bytes until the end of the connection.
fn told(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn both_listeners_speak_https_and_only_whom_they_are_believed_by_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Certificates::create(&dir.path().join("ours")).unwrap();
    let others = Certificates::create(&dir.path().join("others")).unwrap();
    let running = encrypted(&ours, true);
    for address in [running.public, running.admin] {
        let url = format!("https://{address}");
        assert_eq!(livez(&url, &ours.ca_file).await.unwrap(), 200);
        for believed in [others.ca_file.as_path(), Path::new("")] {
            let error = livez(&url, believed).await.unwrap_err();
            assert!(matches!(error, NoAnswer::Unreached(_)), "{error:?}");
            assert!(
                error
                    .to_string()
                    .contains("certificate signed by unknown authority"),
                "{error}"
            );
        }
        // Asked under a name it has no certificate for.
        let misnamed = format!("https://127.0.0.2:{}", address.port());
        assert!(livez(&misnamed, &ours.ca_file).await.is_err());
        // In the clear there is nothing to be had, and nothing breaks.
        assert!(livez(&format!("http://{address}"), Path::new("")).await.is_err());
    }
    let half = encrypted(&ours, false);
    let (public, admin) = (
        format!("https://{}", half.public),
        format!("http://{}", half.admin),
    );
    assert_eq!(livez(&public, &ours.ca_file).await.unwrap(), 200);
    assert_eq!(livez(&admin, Path::new("")).await.unwrap(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_to_tls_are_told_so_and_others_are_served() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Certificates::create(dir.path()).unwrap();
    let running = encrypted(&ours, true);
    let mut tls_1_1 = vec![0x16, 3, 1, 0, 45, 1, 0, 0, 41, 3, 2];
    tls_1_1.extend([7; 32]);
    tls_1_1.extend([0, 0, 2, 0, 0x2f, 1, 0]);
    let public = running.public;
    for bytes in [
        tls_1_1,
        b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        vec![0xff; 20_000],
    ] {
        let answer = tokio::task::spawn_blocking(move || told(public, &bytes))
            .await
            .unwrap();
        // An alert of TLS, if anything.
        assert!(answer.is_empty() || answer[0] == 0x15, "{answer:?}");
    }
    let url = format!("https://{public}");
    assert_eq!(livez(&url, &ours.ca_file).await.unwrap(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_that_never_end_hold_nobody_up_and_are_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Certificates::create(dir.path()).unwrap();
    let running = encrypted(&ours, true);
    let silent: Vec<TcpStream> = (0..SILENT)
        .map(|_| TcpStream::connect(running.public).unwrap())
        .collect();
    let url = format!("https://{}", running.public);
    assert_eq!(livez(&url, &ours.ca_file).await.unwrap(), 200);
    let is_waiting = |mut stream: &TcpStream| {
        stream.set_nonblocking(true).unwrap();
        let heard = stream.read(&mut [0]);
        heard.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    };
    // All of them were there while somebody else was answered.
    assert!(silent.iter().all(is_waiting));
    wait_for("the end of their time", PATIENCE, async || {
        match silent.iter().filter(|stream| is_waiting(stream)).count() {
            0 => Ok(()),
            left => Err(format!("{left} are still waited for")),
        }
    })
    .await
    .unwrap();
    assert_eq!(livez(&url, &ours.ca_file).await.unwrap(), 200);
}
