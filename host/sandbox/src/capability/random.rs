//! `wasi:random`: the system's randomness, or bytes that follow from the task's id.

use bulkhead_core::TaskId;
use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng as _;
use sha2::{Digest as _, Sha256};
use wasmtime_wasi::p2::bindings::random as rng;
use wasmtime_wasi::random::WasiRandom;
use wasmtime_wasi::{WasiCtxBuilder, WasiView as _};

use super::{Capability, CapabilitySet, Interface, Standing};
use crate::grants::{Grants, Randomness};

pub(super) const CAPABILITY: Capability = Capability {
    grant: Some("random"),
    line: "random = \"system\"",
    interfaces: &[
        Interface { name: "wasi:random/random", version: "0.2", link: Some(secure) },
        Interface { name: "wasi:random/insecure", version: "0.2", link: Some(insecure) },
        Interface { name: "wasi:random/insecure-seed", version: "0.2", link: Some(insecure_seed) },
    ],
    standing,
};

fn standing(_: &Grants, _: CapabilitySet) -> Standing {
    Standing::Default
}

links! {
    secure => rng::random, WasiRandom, |compartment| compartment.ctx().ctx.random();
    insecure => rng::insecure, WasiRandom, |compartment| compartment.ctx().ctx.random();
    insecure_seed => rng::insecure_seed, WasiRandom, |compartment| compartment.ctx().ctx.random();
}

/// Give a WASI context its randomness.
pub(crate) fn set(wasi: &mut WasiCtxBuilder, random: Randomness, task: TaskId) {
    if random == Randomness::System {
        return;
    }
    let generator = |what| ChaCha20Rng::from_seed(seed(what, task));
    let from_bytes = |sum, byte: &u8| sum << 8 | u128::from(*byte);
    let insecure_seed = seed("seed", task).iter().take(16).fold(0_u128, from_bytes);
    wasi.secure_random(generator("secure"))
        .insecure_random(generator("insecure"))
        .insecure_random_seed(insecure_seed);
}

/// Where one kind of randomness starts for a task. It does not change between versions.
fn seed(what: &str, task: TaskId) -> [u8; 32] {
    Sha256::new()
        .chain_update(format!("bulkhead/random/{what}/"))
        .chain_update(task.0)
        .finalize()
        .into()
}
