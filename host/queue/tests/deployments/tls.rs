//! TLS: trusted, mistrusted, and with a certificate of the client's own.

use bulkhead_queue::{QueueError, RedisBroker, RedisConfig};
use bulkhead_stage::TlsServer;

use crate::flow::main_flow;

async fn connect(url: String) -> Result<RedisBroker, QueueError> {
    RedisBroker::connect(RedisConfig::new(url)).await
}

#[tokio::test]
async fn the_main_flow_over_tls_with_an_authority_of_ones_own() {
    let server = TlsServer::start(false);
    let ca = server.file("ca.pem");
    let url = format!("rediss://{}?ca={}", server.place(), ca.display());
    main_flow(connect(url).await.unwrap()).await;
}

#[tokio::test]
async fn a_client_shows_its_certificate() {
    let server = TlsServer::start(true);
    let file = |name: &str| server.file(name).display().to_string();
    let with_ca = format!("rediss://{}?ca={}", server.place(), file("ca.pem"));
    let error = connect(with_ca.clone()).await.map(|_| ()).unwrap_err();
    assert!(!matches!(error, QueueError::Protocol(_)), "{error}");
    let url = format!("{with_ca}&cert={}&key={}", file("client.pem"), file("client.key"));
    main_flow(connect(url).await.unwrap()).await;
}

#[tokio::test]
async fn a_server_of_an_unknown_authority_is_refused() {
    let server = TlsServer::start(false);
    for query in [String::new(), format!("?ca={}", server.file("other-ca.pem").display())] {
        let url = format!("rediss://{}{query}", server.place());
        let error = connect(url).await.map(|_| ()).unwrap_err();
        assert!(matches!(error, QueueError::Refused(_)), "{error}");
        assert!(error.to_string().contains("certificate"), "{error}");
    }
}

#[tokio::test]
async fn unusable_files_are_named() {
    let server = TlsServer::start(false);
    let key = server.file("client.key");
    for (query, named) in [
        ("ca=/nowhere.pem".to_owned(), "/nowhere.pem"),
        (format!("ca={}", key.display()), "no certificate"),
        (format!("cert={}&key=/nowhere.key", server.file("client.pem").display()), "/nowhere.key"),
    ] {
        let error =
            connect(format!("rediss://{}?{query}", server.place())).await.map(|_| ()).unwrap_err();
        assert!(matches!(error, QueueError::Refused(_)), "{error}");
        assert!(error.to_string().contains(named), "{error}");
    }
}

#[tokio::test]
async fn plain_text_to_a_tls_port_and_tls_to_a_plain_port_fail_in_time() {
    let server = TlsServer::start(false);
    let plain = server.plain().port();
    for url in [format!("redis://{}", server.place()), format!("rediss://127.0.0.1:{plain}")] {
        let bound = std::time::Duration::from_secs(20);
        let connected = tokio::time::timeout(bound, connect(url)).await.expect("an answer");
        assert!(connected.is_err());
    }
}
