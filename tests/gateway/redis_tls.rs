//! Redis over TLS, with a user, a password and a key prefix.

use crate::support::redis::Redis;
use crate::support::world::{ADA, StoreKind};
use crate::support::{World, ports};
use tempfile::TempDir;

/// A redis-server that also speaks TLS, knows the user `gateway`, and lets it touch the keys and channels of its prefix only.
struct Guarded {
    port: u16,
    certificate: std::path::PathBuf,
    _redis: Redis,
    _folder: TempDir,
}

fn guarded(prefix: &str) -> Guarded {
    let (folder, port) = (TempDir::new().expect("a folder"), ports::free());
    let certified =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let (certificate, key) = (
        folder.path().join("redis.pem"),
        folder.path().join("redis.key"),
    );
    std::fs::write(&certificate, certified.cert.pem()).expect("written");
    std::fs::write(&key, certified.signing_key.serialize_pem()).expect("written");
    let (tls, keys, channels) = (
        port.to_string(),
        format!("~{prefix}*"),
        format!("&{prefix}*"),
    );
    let (certificate_file, key_file) = (
        certificate.to_str().expect("UTF-8"),
        key.to_str().expect("UTF-8"),
    );
    let arguments = [
        "--tls-port",
        &tls,
        "--tls-cert-file",
        certificate_file,
        "--tls-key-file",
        key_file,
        "--tls-auth-clients",
        "no",
        "--user",
        "gateway",
        "on",
        ">geheim",
        &keys,
        &channels,
        "+@all",
    ];
    let redis = Redis::with(&arguments);
    Guarded {
        port,
        certificate,
        _redis: redis,
        _folder: folder,
    }
}

#[tokio::test]
async fn a_broker_signs_in_over_a_redis_with_tls_user_password_and_prefix() {
    let redis = guarded("haus:");
    let store = format!(
        "[store]\nurl = \"rediss://gateway@localhost:{}/0\"\npassword = \"geheim\"\nkey_prefix = \"haus:\"",
        redis.port
    );
    let world = World::builder()
        .store(StoreKind::Memory)
        .config(&store)
        .trusting(redis.certificate.clone())
        .start()
        .await;
    let browser = world.signed_in(ADA).await;
    browser.open("/kfz/angebot?id=42").await.is(200);
    browser.post("/ui/login/de/abmelden", &[]).await.is(200);
    browser.open("/").await.is(303);
    assert!(
        !world.log().await.contains("geheim"),
        "the password is in the log"
    );
}
