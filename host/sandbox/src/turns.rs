//! Turns at something of which only so much happens at one time, fair between tenants.
//!
//! Whoever holds fewest turns comes first, and of equals who was served longest ago; among one
//! tenant's, the order of asking. A tenant never holds all turns, if there are two or more, so
//! that another finds a place however much one asks for. The operator's may hold all.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bulkhead_core::TenantName;
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Who takes a turn: a tenant, or none for the operator.
type Party = Option<TenantName>;

/// Gives turns. Clones give of the same ones.
#[derive(Debug, Clone)]
pub struct Turnstile(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    free: usize,
    /// Most turns of one tenant.
    most: usize,
    waiting: VecDeque<Waiting>,
    parties: BTreeMap<Party, Standing>,
    served: u64,
}

#[derive(Debug)]
struct Waiting {
    party: Party,
    turn: oneshot::Sender<Turn>,
}

/// How a party stands. It is forgotten when it neither holds a turn nor waits.
#[derive(Debug, Default)]
struct Standing {
    held: usize,
    waits: usize,
    last: u64,
}

/// A turn, until it is dropped.
#[derive(Debug)]
pub struct Turn {
    party: Party,
    of: Option<Turnstile>,
}

impl Turnstile {
    /// So many turns at one time, of which one tenant has at most `most`.
    #[must_use]
    pub fn new(turns: usize, most: usize) -> Self {
        let state = State {
            free: turns.max(1),
            most: most.max(1),
            waiting: VecDeque::new(),
            parties: BTreeMap::new(),
            served: 0,
        };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Wait for a turn. Who gives up waiting loses its place.
    pub async fn turn(&self, party: Option<&TenantName>) -> Turn {
        let party = party.cloned();
        let (turn, come) = oneshot::channel();
        {
            let mut state = self.0.lock();
            state.parties.entry(party.clone()).or_default().waits += 1;
            state.waiting.push_back(Waiting { party: party.clone(), turn });
        }
        // Should the waiting end here, what it had is given back.
        let place = Place { party: &party, of: self };
        self.serve();
        let turn = come.await;
        drop(place);
        // The sender is dropped only after it was used.
        turn.unwrap_or(Turn { party: None, of: None })
    }

    /// Give what is free to those who come first.
    fn serve(&self) {
        loop {
            let mut state = self.0.lock();
            let Some(Waiting { party, turn }) = state.next() else { return };
            state.free -= 1;
            state.served += 1;
            let served = state.served;
            let standing = state.parties.entry(party.clone()).or_default();
            (standing.held, standing.last) = (standing.held + 1, served);
            drop(state);
            // One that nobody waits for any more comes back by being dropped.
            drop(turn.send(Turn { party, of: Some(self.clone()) }));
        }
    }
}

impl State {
    /// Who comes next, if anybody may.
    fn next(&mut self) -> Option<Waiting> {
        if self.free == 0 {
            return None;
        }
        self.waiting.retain(|waiting| !waiting.turn.is_closed());
        let mut first: Option<(usize, (usize, u64))> = None;
        for (at, waiting) in self.waiting.iter().enumerate() {
            let standing = self.parties.get(&waiting.party);
            let (held, last) = standing.map_or((0, 0), |standing| (standing.held, standing.last));
            let full = waiting.party.is_some() && held >= self.most;
            if !full && first.is_none_or(|(_, rank)| (held, last) < rank) {
                first = Some((at, (held, last)));
            }
        }
        self.waiting.remove(first?.0)
    }

    fn forget_if_gone(&mut self, party: &Party) {
        if self.parties.get(party).is_some_and(|gone| gone.held == 0 && gone.waits == 0) {
            self.parties.remove(party);
        }
    }
}

/// A place among those who wait.
struct Place<'a> {
    party: &'a Party,
    of: &'a Turnstile,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.of.0.lock();
        if let Some(standing) = state.parties.get_mut(self.party) {
            standing.waits = standing.waits.saturating_sub(1);
        }
        state.forget_if_gone(self.party);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(of) = self.of.take() else { return };
        {
            let mut state = of.0.lock();
            state.free += 1;
            if let Some(standing) = state.parties.get_mut(&self.party) {
                standing.held = standing.held.saturating_sub(1);
            }
            state.forget_if_gone(&self.party);
        }
        of.serve();
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    type Coming = Pin<Box<dyn Future<Output = Turn>>>;

    fn tenant(name: &str) -> Option<TenantName> {
        (name != "-").then(|| TenantName::new(name).unwrap())
    }

    fn ask(turns: &Turnstile, who: &str) -> Coming {
        let (turns, who) = (turns.clone(), tenant(who));
        let mut coming: Coming = Box::pin(async move { turns.turn(who.as_ref()).await });
        match come(&mut coming) {
            Some(turn) => Box::pin(std::future::ready(turn)),
            None => coming,
        }
    }

    fn come(coming: &mut Coming) -> Option<Turn> {
        match coming.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(turn) => Some(turn),
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_tenant_never_holds_all_turns_and_the_operator_may() {
        let turns = Turnstile::new(2, 1);
        let first = come(&mut ask(&turns, "a")).expect("a turn");
        let mut second = ask(&turns, "a");
        assert!(come(&mut second).is_none(), "the other place is not for the same tenant");
        let other = come(&mut ask(&turns, "b")).expect("another's is");
        drop(first);
        let second = come(&mut second).expect("its own turn ended");
        drop((second, other));
        let both = [ask(&turns, "-"), ask(&turns, "-")].map(|mut it| come(&mut it).is_some());
        assert_eq!(both, [true, true]);
        assert!(turns.0.lock().parties.is_empty(), "who is gone is forgotten");
    }

    #[test]
    fn who_was_served_longest_ago_comes_first_however_many_wait_before() {
        let turns = Turnstile::new(1, 1);
        let mut held = come(&mut ask(&turns, "a"));
        let mut waiting: Vec<(&str, Coming)> = Vec::new();
        for who in ["a", "a", "a", "b", "b", "-"] {
            waiting.push((who, ask(&turns, who)));
        }
        let mut order = String::new();
        while held.take().is_some() {
            let next =
                waiting.iter_mut().enumerate().find_map(|(at, (_, it))| Some((at, come(it)?)));
            let Some((at, turn)) = next else { break };
            order.push_str(waiting.remove(at).0);
            held = Some(turn);
        }
        assert_eq!(order, "b-abaa");
    }

    #[test]
    fn who_gives_up_takes_nothing_along() {
        let turns = Turnstile::new(1, 1);
        let held = come(&mut ask(&turns, "a"));
        let mut gives_up = ask(&turns, "b");
        let mut stays = ask(&turns, "c");
        assert!(come(&mut gives_up).is_none() && come(&mut stays).is_none());
        drop(gives_up);
        drop(held);
        drop(come(&mut stays).expect("its turn"));
        // One that has come and was never looked at comes back as well.
        let held = come(&mut ask(&turns, "a"));
        let unseen = ask(&turns, "b");
        drop(held);
        drop(unseen);
        assert!(come(&mut ask(&turns, "c")).is_some());
        assert!(turns.0.lock().parties.is_empty());
    }
}
