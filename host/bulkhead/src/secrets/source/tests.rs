use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bulkhead_queue::{EmbeddedBroker, Sealed};

use super::super::{Given, Key, KeyPlaces, seal};
use super::*;

/// A broker, a folder with a key in it, and secrets of a host.
struct Scene {
    broker: Arc<EmbeddedBroker>,
    folder: tempfile::TempDir,
    key: Key,
}

fn id(text: &str) -> SecretId {
    text.parse().unwrap()
}

fn private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

impl Scene {
    fn new() -> Self {
        let (broker, folder) = (EmbeddedBroker::in_memory(), tempfile::tempdir().unwrap());
        let key = Key::generate().unwrap();
        private(&folder.path().join("key"), key.written().expose());
        Self { broker: Arc::new(broker), folder, key }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn secrets(&self, places: &[(&str, Place)]) -> Secrets {
        let places: BTreeMap<_, _> =
            places.iter().map(|(name, place)| (id(name), place.clone())).collect();
        let key = KeyPlaces { current: Given::File(self.path("key")), old: Vec::new() };
        let secrets = SecretSettings { namespace: "ns".into(), places, key: Some(key) };
        let settings = PluginSettings { secrets: Arc::new(secrets), ..PluginSettings::default() };
        Secrets::new(LiveSettings::fixed(settings), self.broker.clone(), Runtime::current())
    }

    async fn put(&self, name: &str, value: &str) {
        let value = SecretValue::new(value.to_owned());
        let sealed = seal(&self.key, "ns", &id(name), &value, 1).unwrap();
        self.broker.put_secret(&id(name), &sealed, None).await.unwrap();
    }
}

async fn got(secrets: &Secrets, tenant: &str, name: &str) -> Result<String, SecretError> {
    let source = secrets.of(&TenantName::new(tenant).unwrap());
    source.get(name).await.map(|value| value.expose().to_owned())
}

fn not_now() -> Result<String, SecretError> {
    Err(SecretError::Unavailable(NOT_NOW.to_owned()))
}

#[tokio::test]
async fn each_place_gives_its_value_and_a_tenants_own_goes_first() {
    let scene = Scene::new();
    private(&scene.path("secret"), "of the file\n");
    let value = Some(SecretValue::new("of the environment".into()));
    let env = |value| Place::Given(Given::Env { variable: "V".into(), value });
    let secrets = scene.secrets(&[
        ("/env", env(value)),
        ("/unset", env(None)),
        ("/file", Place::Given(Given::File(scene.path("secret")))),
        ("/token", Place::Stored),
        ("acme/token", Place::Stored),
        ("/absent", Place::Stored),
    ]);
    scene.put("/token", "everybody's").await;
    scene.put("acme/token", "acme's own").await;
    scene.put("/not-configured", "never told").await;
    let given = |text: &str| Ok(text.to_owned());
    assert_eq!(got(&secrets, "acme", "env").await, given("of the environment"));
    assert_eq!(got(&secrets, "acme", "file").await, given("of the file"));
    assert_eq!(got(&secrets, "acme", "token").await, given("acme's own"));
    assert_eq!(got(&secrets, "other", "token").await, given("everybody's"));
    assert_eq!(got(&secrets, "acme", "unset").await, not_now());
    assert_eq!(got(&secrets, "acme", "absent").await, Err(SecretError::Unknown));
    assert_eq!(got(&secrets, "acme", "not-configured").await, Err(SecretError::Unknown));
}

#[tokio::test]
async fn what_does_not_open_is_not_available_and_the_guest_does_not_hear_why() {
    let scene = Scene::new();
    let secrets = scene.secrets(&[("/a", Place::Stored), ("/b", Place::Stored)]);
    scene.put("/a", "sealed as a").await;
    // As somebody would who can write to the broker and has no key.
    let moved = scene.broker.secrets(&[id("/a")]).await.unwrap().remove(0).unwrap();
    scene.broker.put_secret(&id("/b"), &moved, None).await.unwrap();
    assert_eq!(got(&secrets, "acme", "b").await, not_now());
    scene.broker.put_secret(&id("/a"), &Sealed(b"junk".to_vec()), None).await.unwrap();
    assert_eq!(got(&secrets, "acme", "a").await, not_now());
}

#[tokio::test]
async fn one_reading_serves_many_and_is_let_go_with_its_settings() {
    let scene = Scene::new();
    let path = scene.path("secret");
    private(&path, "first value");
    let place = |path: PathBuf| Place::Given(Given::File(path));
    let settings = |path: PathBuf| {
        let places = BTreeMap::from([(id("/file"), place(path))]);
        let secrets = SecretSettings { places, ..SecretSettings::default() };
        PluginSettings { secrets: Arc::new(secrets), ..PluginSettings::default() }
    };
    let (writer, live) = LiveSettings::new(settings(path.clone()));
    let secrets = Secrets::new(live, scene.broker.clone(), Runtime::current());
    assert_eq!(got(&secrets, "acme", "file").await, Ok("first value".into()));
    let began = Instant::now();
    private(&path, "second value");
    let again = got(&secrets, "acme", "file").await;
    // A machine that stood still in between has let the first reading grow old.
    if began.elapsed() < GOOD_FOR / 2 {
        assert_eq!(again, Ok("first value".into()));
    }
    let other = scene.path("other");
    private(&other, "third value");
    assert!(writer.replace(settings(other)));
    assert_eq!(got(&secrets, "acme", "file").await, Ok("third value".into()));
}
