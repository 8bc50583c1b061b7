//! Plugin files and the hosts that serve them.

use bulkhead_tests::install;

use super::*;

#[tokio::test]
async fn plugins_are_checked_inspected_and_reloaded() {
    let place = Place::new();
    let no_host = place.run(&["plugin", "reload"]);
    assert_eq!(no_host.code, 4, "{}", no_host.stderr);
    let mut host = place.host().await;

    let wrong = install(place.path(), "wrongworld");
    let good = place.path().join("unruly.wasm");
    let check =
        place.run(&["plugin", "check", good.to_str().unwrap(), wrong.to_str().unwrap(), "--json"]);
    assert_eq!(check.code, 1);
    let verdicts = check.json();
    assert_eq!((&verdicts[0]["ok"], &verdicts[1]["ok"]), (&true.into(), &false.into()));
    assert_eq!(verdicts[1]["gate"], "world");

    let inspected = place.run(&["plugin", "inspect", good.to_str().unwrap(), "--json"]).json();
    assert_eq!(inspected["kind"], "component");
    assert!(inspected["asked"].as_array().unwrap().len() > 3);
    let inspected = place.run(&["plugin", "inspect", wrong.to_str().unwrap()]);
    assert_eq!(inspected.code, 1);

    let reload = place.run(&["plugin", "reload"]);
    assert_eq!(reload.code, 1, "a version was refused");
    assert!(
        reload.stdout.contains("wrongworld on h1 failed the gate `world`"),
        "{}",
        reload.stdout
    );
    std::fs::remove_file(&wrong).unwrap();
    let reload = place.run(&["plugin", "reload", "--json"]).succeeds().json();
    assert_eq!(reload.as_array().unwrap().len(), 1, "{reload}");

    host.signal("TERM");
    let status = host.wait(std::time::Duration::from_secs(10));
    assert_eq!(status.code(), Some(0), "{}", host.log());
}
