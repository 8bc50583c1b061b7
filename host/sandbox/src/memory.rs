//! The memory limit of one attempt.
//!
//! It is over the sum of all linear memories and tables of the store, so that a
//! component gains nothing by having several. A refused growth traps with
//! [`MemoryRefused`] instead of returning −1 to the guest: most guests turn −1 into an
//! anonymous `unreachable`, and "out of memory" is what really happened.

use wasmtime::ResourceLimiter;

/// A table element is a pointer on the host.
const TABLE_ELEMENT_BYTES: u64 = size_of::<usize>() as u64;

/// Growth that the limit does not allow.
#[derive(Debug, thiserror::Error)]
#[error("the guest asked for {wanted_bytes} bytes of memory in all")]
pub(crate) struct MemoryRefused {
    pub(crate) wanted_bytes: u64,
}

/// What the memories and tables of one store add up to.
#[derive(Debug)]
pub(crate) struct MemoryMeter {
    limit_bytes: u64,
    used_bytes: u64,
    peak_bytes: u64,
    last_grant_bytes: u64,
    instances: usize,
}

impl MemoryMeter {
    pub(crate) fn new(limit_bytes: u64, instances: u32) -> Self {
        Self {
            limit_bytes,
            used_bytes: 0,
            peak_bytes: 0,
            last_grant_bytes: 0,
            instances: instances as usize,
        }
    }

    /// The highest sum so far.
    pub(crate) fn peak_bytes(&self) -> u64 {
        self.peak_bytes
    }

    fn grow(&mut self, current_bytes: u64, desired_bytes: u64) -> wasmtime::Result<()> {
        let grant_bytes = desired_bytes.saturating_sub(current_bytes);
        let wanted_bytes = self.used_bytes.saturating_add(grant_bytes);
        if wanted_bytes > self.limit_bytes {
            return Err(wasmtime::Error::new(MemoryRefused { wanted_bytes }));
        }
        self.used_bytes = wanted_bytes;
        self.peak_bytes = self.peak_bytes.max(wanted_bytes);
        self.last_grant_bytes = grant_bytes;
        Ok(())
    }

    fn take_back(&mut self) {
        self.used_bytes = self.used_bytes.saturating_sub(self.last_grant_bytes);
        self.last_grant_bytes = 0;
    }
}

impl ResourceLimiter for MemoryMeter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.grow(current as u64, desired as u64)?;
        Ok(self.fits_its_own(desired, maximum))
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.take_back();
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let bytes = |elements: usize| (elements as u64).saturating_mul(TABLE_ELEMENT_BYTES);
        self.grow(bytes(current), bytes(desired))?;
        Ok(self.fits_its_own(desired, maximum))
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.take_back();
        Ok(())
    }

    fn instances(&self) -> usize {
        self.instances
    }
}

impl MemoryMeter {
    /// Whether the growth stays within the maximum that the guest itself declared.
    /// Beyond it the guest gets its −1, and nothing is charged.
    fn fits_its_own(&mut self, desired: usize, maximum: Option<usize>) -> bool {
        let fits = maximum.is_none_or(|maximum| desired <= maximum);
        if !fits {
            self.take_back();
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_and_tables_share_one_limit() {
        let mut meter = MemoryMeter::new(1_000, 1);
        assert!(meter.memory_growing(0, 400, None).unwrap());
        assert!(meter.memory_growing(0, 400, None).unwrap());
        assert!(meter.table_growing(0, 25, None).unwrap());
        assert_eq!(meter.peak_bytes(), 1_000);
        let refused = meter.memory_growing(400, 401, None).unwrap_err();
        let refused = refused.downcast_ref::<MemoryRefused>().unwrap();
        assert_eq!(refused.wanted_bytes, 1_001);
    }

    #[test]
    fn growth_that_failed_otherwise_is_not_charged() {
        let mut meter = MemoryMeter::new(1_000, 1);
        assert!(!meter.memory_growing(0, 900, Some(500)).unwrap());
        assert!(meter.memory_growing(0, 900, None).unwrap());
        meter.memory_grow_failed(wasmtime::format_err!("no pages")).unwrap();
        assert!(meter.memory_growing(0, 1_000, None).unwrap());
    }
}
