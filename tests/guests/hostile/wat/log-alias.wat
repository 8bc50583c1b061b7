;; Logs a line of 30,000 fields, each of which is the same 60 kB of its memory.
(import "bulkhead:handler/log@0.1.0" "write" (func $log (param i32 i32 i32 i32 i32)))
(memory $memory (export "memory") 60)
(func $put (param i32 i32) (i32.store (local.get 0) (i32.const 4096)) (i32.store offset=4 (local.get 0) (local.get 1)))
(func (export "bulkhead:handler/handler@0.1.0#handle") (param i32) (result i32) (local $at i32)
    (memory.fill (i32.const 4096) (i32.const 97) (i32.const 60000))
    (local.set $at (i32.const 131072))
    (loop $again
            (call $put (local.get $at) (i32.const 60000))
            (local.set $at (i32.add (local.get $at) (i32.const 8)))
            (br_if $again (i32.lt_u (local.get $at) (i32.const 611072))))
    (call $log (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 131072) (i32.const 30000))
    (i32.const 0))
