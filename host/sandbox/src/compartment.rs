//! What one attempt, or one batch of them, owns inside its store: its meters, its tasks'
//! seats, and the little that WASI keeps. It lives for one call and is dropped with
//! everything in it.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bulkhead_core::{Limits, TaskId, UnixMs};
use bytes::Bytes;
use wasmtime::component::ResourceTable;
use wasmtime::{Engine, Store, StoreContextMut, UpdateDeadline};
use wasmtime_wasi::clocks::WasiClocksView as _;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::cancel::Cancels;
use crate::capability::clocks::{Timing, coarse_ms};
use crate::capability::http::HttpSession;
use crate::capability::{Folders, clocks, random};
use crate::grants::{Clocks, Grants, Randomness};
use crate::journal::{SharedJournal, Stream};
use crate::memory::MemoryMeter;
use crate::powers::Powers;
use crate::seat::Seats;
use crate::stdio::{CollectedStream, LoggedStream, PayloadStream, Writer};

/// Entries of the host's own resource table for each handle of the guest: a timer the
/// guest waits for is two.
const ENTRIES_PER_HANDLE: usize = 2;

/// A year's wait stands for every longer one, so that times cannot overflow.
const LONGEST_WALL_MS: u64 = 366 * 24 * 3_600_000;

/// Why a running attempt was stopped from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stopped {
    #[error("the time limit passed while the guest ran")]
    Deadline,
    #[error("the time limit passed while the guest waited in a host call")]
    DeadlineInHostCall,
    #[error("the task was cancelled")]
    Cancelled,
    #[error("the host's own code panicked")]
    HostPanicked,
}

/// When and by whom an attempt is stopped.
#[derive(Clone)]
pub(crate) struct Stop {
    pub(crate) began: Instant,
    pub(crate) deadline: Instant,
    pub(crate) deadline_at: UnixMs,
    pub(crate) cancel: Cancels,
}

impl Stop {
    /// Stop after `wall_ms`, or at `deadline_at` if that comes first.
    pub(crate) fn after(wall_ms: u64, deadline_at: UnixMs, cancel: Cancels) -> Self {
        let began = Instant::now();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = UnixMs::try_from(now.as_millis()).unwrap_or(UnixMs::MAX);
        let left_ms = wall_ms.min(deadline_at.saturating_sub(now)).min(LONGEST_WALL_MS);
        Self {
            began,
            deadline: began + Duration::from_millis(left_ms),
            deadline_at: now.saturating_add(left_ms),
            cancel,
        }
    }

    /// Why the attempt must stop now, if it must.
    pub(crate) fn due(&self) -> Option<Stopped> {
        if self.cancel.is_cancelled() {
            Some(Stopped::Cancelled)
        } else if Instant::now() >= self.deadline {
            Some(Stopped::Deadline)
        } else {
            None
        }
    }
}

/// What a guest can tell of time and chance.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    pub(crate) clocks: Clocks,
    pub(crate) random: Randomness,
    /// The task that seeds randomness; the first of a batch.
    pub(crate) task: TaskId,
    /// When it was submitted, where frozen clocks stand.
    pub(crate) submitted_at: UnixMs,
    /// The time that a guest with frozen clocks believes to have.
    pub(crate) wall_ms: u64,
}

impl Setting {
    pub(crate) fn of(grants: &Grants, task: TaskId, submitted_at: UnixMs, wall_ms: u64) -> Self {
        Self { clocks: grants.clocks, random: grants.random, task, submitted_at, wall_ms }
    }

    /// The deadline that the guest is told of, if it is this one.
    pub(crate) fn deadline_ms(&self, deadline_at: UnixMs) -> UnixMs {
        match self.clocks {
            Clocks::Exact => deadline_at,
            Clocks::Coarse => coarse_ms(deadline_at),
            Clocks::Frozen => self.submitted_at.saturating_add(self.wall_ms),
        }
    }
}

/// What a compartment is opened with.
pub(crate) struct Opening {
    pub(crate) stop: Stop,
    pub(crate) stdio: Stdio,
    pub(crate) seats: Seats,
    pub(crate) setting: Setting,
    /// None for a plugin that uses nothing which must be granted.
    pub(crate) powers: Option<Box<Powers>>,
}

/// How a guest gets its input and gives its output.
pub(crate) enum Stdio {
    /// By the handler's parameters and result; streams are for people.
    Logged,
    /// By the standard streams of a plain command.
    Command { name: Arc<str>, input: Bytes, output: CollectedStream },
}

/// One attempt's side of the store.
pub(crate) struct Compartment {
    pub(crate) memory: MemoryMeter,
    pub(crate) seats: Seats,
    pub(crate) stop: Stop,
    pub(crate) hostcall_bytes: u64,
    pub(crate) setting: Setting,
    pub(crate) powers: Option<Box<Powers>>,
    /// Made when the guest first speaks of HTTP.
    pub(crate) http: Option<Box<HttpSession>>,
    stdio: Stdio,
    random_bytes: u64,
    table: ResourceTable,
    /// Made when the guest first asks for it; many handlers never do.
    wasi: Option<Box<WasiCtx>>,
}

impl Compartment {
    /// A store for one attempt under `limits`, armed and ready to be instantiated into.
    pub(crate) fn open(
        engine: &Engine,
        limits: &Limits,
        random_bytes: u64,
        opening: Opening,
    ) -> wasmtime::Result<Store<Self>> {
        let Opening { stop, stdio, seats, setting, powers } = opening;
        let handles = limits.handles as usize;
        let mut table = ResourceTable::new();
        table.set_max_capacity(handles.saturating_mul(ENTRIES_PER_HANDLE));
        let compartment = Self {
            memory: MemoryMeter::new(limits.memory_bytes, limits.instances),
            seats,
            stop,
            hostcall_bytes: limits.hostcall_bytes,
            setting,
            powers,
            http: None,
            stdio,
            random_bytes,
            table,
            wasi: None,
        };
        let mut store = Store::new(engine, compartment);
        store.limiter(|compartment| &mut compartment.memory);
        store.set_fuel(limits.fuel)?;
        store.set_max_component_handles(handles);
        store.set_hostcall_fuel(usize::try_from(limits.hostcall_bytes).unwrap_or(usize::MAX));
        store.epoch_deadline_callback(at_tick);
        store.set_epoch_deadline(1);
        Ok(store)
    }

    /// Open the folders that were granted, for a plugin that uses them. The guest may have
    /// `files` open besides.
    pub(crate) async fn open_folders(&mut self, files: u32) -> wasmtime::Result<()> {
        if let Some(powers) = self.powers.as_deref_mut()
            && let Some(grant) = &powers.grants.fs
        {
            let opened = Folders::open(grant, powers.services.scratch.as_ref(), files).await;
            powers.folders = Some(Box::new(opened.map_err(wasmtime::Error::new)?));
        }
        Ok(())
    }

    pub(crate) fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }

    /// What the attempt has of `http`, and its table.
    pub(crate) fn http_and_table(&mut self) -> (&mut HttpSession, &mut ResourceTable) {
        let powers = self.powers.as_deref();
        (self.http.get_or_insert_with(|| HttpSession::of(powers)), &mut self.table)
    }

    /// The monotonic clock, as exact as was granted.
    pub(crate) fn timing(&mut self) -> Timing<'_> {
        let (clocks, began) = (self.setting.clocks, self.stop.began);
        Timing { wasi: self.clocks(), clocks, began }
    }

    fn wasi(
        journal: &SharedJournal,
        stdio: &Stdio,
        random_bytes: u64,
        setting: &Setting,
        began: Instant,
    ) -> Box<WasiCtx> {
        let logged = |stream| Writer(LoggedStream { journal: journal.clone(), stream });
        let mut wasi = WasiCtx::builder();
        wasi.max_random_size(random_bytes).stderr(logged(Stream::Err));
        clocks::set(&mut wasi, setting.clocks, began, setting.submitted_at);
        random::set(&mut wasi, setting.random, setting.task);
        match stdio {
            Stdio::Logged => wasi.stdout(logged(Stream::Out)),
            Stdio::Command { name, input, output } => wasi
                .arg(name)
                .stdin(PayloadStream::new(input.clone()))
                .stdout(Writer(output.clone())),
        };
        Box::new(wasi.build())
    }
}

impl WasiView for Compartment {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let journal = &self.seats.common.journal;
        let (stdio, random_bytes) = (&self.stdio, self.random_bytes);
        let (setting, began) = (&self.setting, self.stop.began);
        let ctx = self
            .wasi
            .get_or_insert_with(|| Self::wasi(journal, stdio, random_bytes, setting, began));
        WasiCtxView { ctx, table: &mut self.table }
    }
}

/// What a guest does at every epoch tick: stop if it must, else give way to others.
fn at_tick(store: StoreContextMut<'_, Compartment>) -> wasmtime::Result<UpdateDeadline> {
    match store.data().stop.due() {
        Some(stopped) => Err(wasmtime::Error::new(stopped)),
        // Tokio's own yield lets timers and wake-ups be looked at before this guest
        // runs on; a bare self-wake would not.
        None => Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now()))),
    }
}
