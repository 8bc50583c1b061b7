;; Has a memory that threads share, and waits on it.
(memory $memory (export "memory") 2 2 shared)
(func (export "bulkhead:handler/handler@0.1.0#handle") (param i32) (result i32)
    (drop (memory.atomic.wait32 (i32.const 1024) (i32.const 0) (i64.const -1)))
    (i32.const 0))
