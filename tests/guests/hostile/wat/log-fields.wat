;; Logs a line of two million fields, which all lie at the same place.
(import "bulkhead:handler/log@0.1.0" "write" (func $log (param i32 i32 i32 i32 i32)))
(memory $memory (export "memory") 600)
(func (export "bulkhead:handler/handler@0.1.0#handle") (param i32) (result i32)
    (call $log (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 65536) (i32.const 2000000))
    (i32.const 0))
