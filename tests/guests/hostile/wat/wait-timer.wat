;; Waits for a timer that rings in 584 years.
(import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $timer (param i64) (result i32)))
(import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32)))
(func (export "bulkhead:handler/handler@0.1.0#handle") (param i32) (result i32)
    (call $block (call $timer (i64.const -1)))
    (i32.const 0))
