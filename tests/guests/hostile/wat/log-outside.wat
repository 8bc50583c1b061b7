;; Logs 4 GiB from the end of its memory.
(import "bulkhead:handler/log@0.1.0" "write" (func $log (param i32 i32 i32 i32 i32)))
(func (export "bulkhead:handler/handler@0.1.0#handle") (param i32) (result i32)
    (call $log (i32.const 1) (i32.const 0xfffffffe) (i32.const 0xffffffff) (i32.const 0) (i32.const 0))
    (i32.const 0))
