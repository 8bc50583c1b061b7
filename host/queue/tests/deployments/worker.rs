//! One host's conversation with one queue.

use std::time::Duration;

use bulkhead_core::{Outcome, Payload, QueueName};
use bulkhead_queue::{
    Broker, Claim, ClaimToken, End, QueueError, Serves, Settlement, Step, Stepped,
};
use bulkhead_stage::words::report;

use crate::flow::{of_type, queue};

pub(crate) const DAY_MS: u64 = 86_400_000;

pub(crate) struct Worker {
    name: String,
    queue: QueueName,
    types: Vec<Serves>,
    pub(crate) lease: Duration,
}

impl Worker {
    pub(crate) fn new(name: &str, queue_name: &str) -> Self {
        Self {
            name: name.into(),
            queue: queue(queue_name),
            types: vec![of_type("a").into(), of_type("b").into()],
            lease: Duration::from_secs(30),
        }
    }

    pub(crate) async fn step(
        &self,
        broker: &dyn Broker,
        settle: &[Settlement],
        renew: &[ClaimToken],
        want: u32,
    ) -> Result<Stepped, QueueError> {
        let step = Step {
            host: &self.name,
            settle,
            renew,
            progress: &[],
            want,
            claim_bytes: u64::MAX,
            serves: &self.types,
            lease: self.lease,
            reclaim: true,
            dead_retention_ms: DAY_MS,
            apart: false,
        };
        broker.step(&self.queue, step).await
    }

    pub(crate) async fn claim(
        &self,
        broker: &dyn Broker,
        want: u32,
    ) -> Result<Vec<Claim>, QueueError> {
        Ok(self.step(broker, &[], &[], want).await?.claims)
    }

    pub(crate) async fn claim_one(&self, broker: &dyn Broker) -> Claim {
        let mut claims = self.claim(broker, 1).await.unwrap();
        assert_eq!(claims.len(), 1);
        claims.remove(0)
    }

    pub(crate) async fn renew(
        &self,
        broker: &dyn Broker,
        claims: &[Claim],
    ) -> Result<Stepped, QueueError> {
        let tokens: Vec<ClaimToken> = claims.iter().map(|claim| claim.token.clone()).collect();
        self.step(broker, &[], &tokens, 0).await
    }

    pub(crate) async fn complete(
        &self,
        broker: &dyn Broker,
        claims: &[Claim],
    ) -> Result<Stepped, QueueError> {
        let settle: Vec<Settlement> = claims.iter().map(done).collect();
        self.step(broker, &settle, &[], 0).await
    }

    pub(crate) async fn settle(&self, broker: &dyn Broker, claim: &Claim, end: End) {
        let settlement = Settlement { token: claim.token.clone(), end, plugin: None };
        let stepped = self.step(broker, &[settlement], &[], 0).await.unwrap();
        assert!(stepped.stale.is_empty());
    }
}

pub(crate) fn done(claim: &Claim) -> Settlement {
    let output = Outcome::Done(Payload::new(Payload::TEXT, "out"));
    let end = End::Complete {
        report: report(claim.attempt, output),
        retention_ms: DAY_MS,
        children: Vec::new(),
    };
    Settlement { token: claim.token.clone(), end, plugin: None }
}
