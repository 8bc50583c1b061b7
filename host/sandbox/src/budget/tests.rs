use std::sync::atomic::AtomicBool;

use proptest::prelude::*;

use super::*;

fn held(budget: &Budget) -> u64 {
    budget.status().held_bytes / KIB
}

#[tokio::test]
async fn what_is_held_comes_back_however_its_holder_ends() {
    let budget = Budget::of(10 * KIB);
    let hold = budget.hold(4 * KIB).await;
    assert_eq!((held(&budget), hold.bytes()), (4, 4 * KIB));
    drop(hold);
    assert_eq!(held(&budget), 0);

    let mine = budget.clone();
    let panicked = tokio::spawn(async move {
        let _hold = mine.hold(7 * KIB).await;
        panic!("on purpose");
    });
    assert!(panicked.await.unwrap_err().is_panic());
    assert_eq!(held(&budget), 0);

    let (mine, began) = (budget.clone(), Arc::new(tokio::sync::Notify::new()));
    let told = began.clone();
    let endless = tokio::spawn(async move {
        let _hold = mine.hold(7 * KIB).await;
        told.notify_one();
        std::future::pending::<()>().await;
    });
    began.notified().await;
    assert_eq!(held(&budget), 7);
    endless.abort();
    assert!(endless.await.unwrap_err().is_cancelled());
    assert_eq!(held(&budget), 0);
}

#[tokio::test]
async fn who_comes_first_is_served_first_and_nobody_gets_past() {
    let budget = Budget::of(10 * KIB);
    let first = budget.hold(6 * KIB).await;
    let mut large = std::pin::pin!(budget.hold(9 * KIB));
    assert!(futures_pending(large.as_mut()).await);
    // It would fit, but somebody waits.
    assert!(budget.try_hold(KIB).is_none());
    assert_eq!((budget.fits(KIB), budget.status().waiting), (0, 1));
    let mut small = std::pin::pin!(budget.hold(KIB));
    assert!(futures_pending(small.as_mut()).await);
    drop(first);
    let large = large.await;
    let small = small.await;
    assert_eq!(held(&budget), 10);
    drop((large, small));
    assert_eq!((held(&budget), budget.status().waiting), (0, 0));
}

#[tokio::test]
async fn who_stops_waiting_leaves_nothing_behind() {
    let budget = Budget::of(10 * KIB);
    let first = budget.hold(6 * KIB).await;
    {
        let mut impatient = std::pin::pin!(budget.hold(9 * KIB));
        assert!(futures_pending(impatient.as_mut()).await);
    }
    assert_eq!(budget.status().waiting, 0);
    assert!(budget.try_hold(4 * KIB).is_some());
    drop(first);
    assert_eq!(held(&budget), 0);
}

#[tokio::test]
async fn a_hold_is_shrunk_and_split_and_tells_that_there_is_room() {
    let budget = Budget::of(10 * KIB);
    let told = Arc::new(AtomicBool::new(false));
    let tell = told.clone();
    budget.on_freed(move || tell.store(true, Ordering::SeqCst));
    let mut hold = budget.hold(8 * KIB).await;
    hold.shrink_to(100 * KIB);
    assert_eq!((held(&budget), told.load(Ordering::SeqCst)), (8, false));
    hold.shrink_to(5 * KIB - 1);
    assert_eq!((held(&budget), told.load(Ordering::SeqCst)), (5, true));
    let part = hold.split(2 * KIB);
    assert_eq!((hold.bytes(), part.bytes(), held(&budget)), (3 * KIB, 2 * KIB, 5));
    let all = hold.split(u64::MAX);
    assert_eq!((hold.bytes(), all.bytes()), (0, 3 * KIB));
    drop((hold, part, all));
    assert_eq!(held(&budget), 0);
}

#[tokio::test]
async fn no_plugin_keeps_so_much_that_an_attempt_would_never_fit() {
    let budget = Budget::of(100 * KIB);
    let load = async || budget.hold_for_load(30 * KIB).await.expect("it fits");
    let first = budget.settle_in(load().await, 20 * KIB, 60 * KIB).expect("it fits");
    assert_eq!((held(&budget), budget.admits(40 * KIB)), (20, 2));
    // 40 + 60 are the whole, 41 + 60 are more.
    let over = budget.settle_in(load().await, 21 * KIB, KIB).unwrap_err();
    assert_eq!(over.left_bytes, 59 * KIB);
    let second = budget.settle_in(load().await, 20 * KIB, KIB).expect("it fits");
    assert!(budget.settle_in(load().await, 0, 61 * KIB).is_err(), "its own attempts");
    assert!(budget.hold_for_load(61 * KIB).await.is_err(), "it would wait for ever");
    // An attempt asks for more than any plugin's was to need: it gets what is known to fit.
    let capped = budget.hold(90 * KIB).await;
    assert_eq!(capped.bytes(), 60 * KIB);
    drop((capped, first));
    assert_eq!((held(&budget), budget.hold(90 * KIB).await.bytes()), (20, KIB));
    drop(second);
    assert_eq!(held(&budget), 0);
}

#[tokio::test]
async fn a_load_that_waits_hears_when_it_will_never_fit() {
    let budget = Budget::of(100 * KIB);
    let small = budget.hold_for_load(50 * KIB).await.expect("it fits");
    let mut large = std::pin::pin!(budget.hold_for_load(90 * KIB));
    assert!(futures_pending(large.as_mut()).await);
    let kept = budget.settle_in(small, 20 * KIB, KIB).expect("it fits");
    assert!(large.await.is_err());
    drop(kept);
    assert_eq!((held(&budget), budget.status().waiting), (0, 0));
}

/// Whether a future is not ready now.
async fn futures_pending<F: Future>(mut future: std::pin::Pin<&mut F>) -> bool {
    std::future::poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx).is_pending())).await
}

/// What one of many who hold memory does, in turns.
#[derive(Debug, Clone)]
enum Act {
    Wait(u64),
    Cancel(usize),
    Shrink(usize, u64),
    Drop(usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        3 => (1_u64..120).prop_map(Act::Wait),
        1 => (0_usize..8).prop_map(Act::Cancel),
        1 => (0_usize..8, 0_u64..60).prop_map(|(at, kib)| Act::Shrink(at, kib)),
        2 => (0_usize..8).prop_map(Act::Drop),
    ];
    prop::collection::vec(act, 1..60)
}

proptest! {
    /// Whatever they do: the holds are never more than the whole, who waited longest goes
    /// first, and in the end all has come back.
    #[test]
    fn holds_never_pass_the_whole_and_all_come_back(acts in acts()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let budget = Budget::of(100 * KIB);
            let mut waiting = std::collections::VecDeque::new();
            let mut holds: Vec<Hold> = Vec::new();
            let mut turn = 0_usize;
            for act in acts {
                match act {
                    Act::Wait(kib) => {
                        let mine = budget.clone();
                        let taking = Box::pin(async move { mine.hold(kib.min(100) * KIB).await });
                        waiting.push_back((turn, taking));
                        turn += 1;
                    }
                    Act::Cancel(at) if at < waiting.len() => drop(waiting.remove(at)),
                    Act::Shrink(at, kib) if at < holds.len() => holds[at].shrink_to(kib * KIB),
                    Act::Drop(at) if at < holds.len() => drop(holds.swap_remove(at)),
                    _ => {}
                }
                // All are asked, the youngest first: only the oldest ones may be ready.
                let mut ready = Vec::new();
                for at in (0..waiting.len()).rev() {
                    let (turn, taking) = &mut waiting[at];
                    let polled = std::future::poll_fn(|cx| {
                        std::task::Poll::Ready(taking.as_mut().poll(cx))
                    });
                    if let std::task::Poll::Ready(hold) = polled.await {
                        ready.push((*turn, at, hold));
                    }
                }
                let oldest_left = (0..waiting.len())
                    .filter(|at| ready.iter().all(|(_, taken, _)| taken != at))
                    .map(|at| waiting[at].0)
                    .min();
                for (turn, at, hold) in ready {
                    assert!(oldest_left.is_none_or(|oldest| turn < oldest), "got past");
                    drop(waiting.remove(at));
                    holds.push(hold);
                }
                let sum: u64 = holds.iter().map(Hold::bytes).sum();
                assert!(sum <= 100 * KIB);
                assert!(budget.status().held_bytes >= sum);
                assert_eq!(budget.status().waiting as usize, waiting.len());
            }
            drop((waiting, holds));
            assert_eq!(budget.status().held_bytes, 0);
            assert_eq!(budget.status().waiting, 0);
        });
    }
}
