//! Stored secrets: sealed bytes that a broker keeps and cannot read.

use bulkhead_queue::{QueueError, Sealed, SecretId};

use crate::talk::Talk;

crate::every_broker![
    a_secret_is_kept_under_its_tenant_and_name,
    one_takes_the_place_of_exactly_what_it_was_made_from,
    secrets_are_bounded,
];

fn id(text: &str) -> SecretId {
    text.parse().unwrap()
}

fn sealed(text: &str) -> Sealed {
    Sealed(text.as_bytes().to_vec())
}

async fn look_up(talk: &Talk, ids: &[&str]) -> Vec<Option<Sealed>> {
    let ids: Vec<SecretId> = ids.iter().map(|text| id(text)).collect();
    talk.broker.secrets(&ids).await.unwrap()
}

async fn a_secret_is_kept_under_its_tenant_and_name(talk: Talk) {
    assert!(talk.broker.secret_ids().await.unwrap().is_empty());
    assert!(look_up(&talk, &[]).await.is_empty());
    let any_bytes = Sealed((0..=255).collect());
    for (name, bytes) in [
        ("/token", sealed("everybody's")),
        ("acme/token", any_bytes.clone()),
        ("acme/other", sealed("first")),
        ("acme/other", sealed("second")),
    ] {
        assert!(talk.broker.put_secret(&id(name), &bytes, None).await.unwrap());
    }
    let known = [id("/token"), id("acme/other"), id("acme/token")];
    assert_eq!(talk.broker.secret_ids().await.unwrap(), known);
    assert_eq!(
        look_up(&talk, &["acme/token", "b/token", "/token", "acme/other"]).await,
        [Some(any_bytes), None, Some(sealed("everybody's")), Some(sealed("second"))]
    );
    assert!(talk.broker.delete_secret(&id("acme/token")).await.unwrap());
    assert!(!talk.broker.delete_secret(&id("acme/token")).await.unwrap());
    let left = look_up(&talk, &["acme/token", "/token"]).await;
    assert_eq!(left, [None, Some(sealed("everybody's"))]);
    // What belongs to no queue makes none.
    assert!(talk.broker.queues().await.unwrap().is_empty());
}

async fn one_takes_the_place_of_exactly_what_it_was_made_from(talk: Talk) {
    let (name, old, new) = (id("/token"), sealed("old"), sealed("new"));
    let over = async |over: &Sealed| talk.broker.put_secret(&name, &new, Some(over)).await.unwrap();
    assert!(!over(&old).await, "there is none to replace");
    talk.broker.put_secret(&name, &old, None).await.unwrap();
    assert!(!over(&sealed("older")).await, "somebody else stored another");
    assert_eq!(look_up(&talk, &["/token"]).await, [Some(old.clone())]);
    assert!(over(&old).await);
    assert_eq!(look_up(&talk, &["/token"]).await, [Some(new.clone())]);
}

async fn secrets_are_bounded(talk: Talk) {
    let name = id("/token");
    let refused = talk.broker.put_secret(&name, &Sealed(vec![7; 70_000]), None).await.unwrap_err();
    assert!(matches!(&refused, QueueError::Refused(r) if r.contains("70000")), "{refused}");
    talk.broker.put_secret(&name, &Sealed(vec![7; 64 << 10]), None).await.unwrap();
    let many: Vec<SecretId> = (0..501).map(|n| id(&format!("/n{n}"))).collect();
    let refused = talk.broker.secrets(&many).await.unwrap_err();
    assert!(matches!(&refused, QueueError::Refused(r) if r.contains("501")), "{refused}");
    let put = async |n: u32| {
        let stored = talk.broker.put_secret(&id(&format!("t/n{n}")), &sealed("x"), None).await;
        assert!(stored.unwrap());
    };
    // Together, so that a disk is waited for ten times only.
    for thousand in 0..10_u32 {
        let numbers = (thousand * 1_000).max(1)..(thousand + 1) * 1_000;
        futures::future::join_all(numbers.map(&put)).await;
    }
    let refused = talk.broker.put_secret(&id("t/more"), &sealed("x"), None).await.unwrap_err();
    assert!(matches!(&refused, QueueError::Refused(r) if r.contains("10000")), "{refused}");
    assert!(talk.broker.put_secret(&id("t/n1"), &sealed("y"), None).await.unwrap(), "a known one");
}
