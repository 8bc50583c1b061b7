;; Waits for one timer, named a million times in one call.
(import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $timer (param i64) (result i32)))
(import "wasi:io/poll@0.2.0" "poll" (func $poll (param i32 i32 i32)))
(memory $memory (export "memory") 100)
(func (export "bulkhead:handler/handler@0.1.0#handle") (param i32) (result i32)
    (local $timer i32) (local $at i32)
    (local.set $timer (call $timer (i64.const 3600000000000)))
    (local.set $at (i32.const 131072))
    (loop $again
        (i32.store (local.get $at) (local.get $timer))
        (local.set $at (i32.add (local.get $at) (i32.const 4)))
        (br_if $again (i32.lt_u (local.get $at) (i32.const 4131072))))
    (call $poll (i32.const 131072) (i32.const 1000000) (i32.const 1024))
    (i32.const 0))
