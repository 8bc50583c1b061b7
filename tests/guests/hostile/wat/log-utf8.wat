;; Logs bytes that are no UTF-8.
(import "bulkhead:handler/log@0.1.0" "write" (func $log (param i32 i32 i32 i32 i32)))
(func (export "bulkhead:handler/handler@0.1.0#handle") (param i32) (result i32)
    (i32.store (i32.const 2048) (i32.const 0xfffefdfc))
    (call $log (i32.const 1) (i32.const 2048) (i32.const 4) (i32.const 0) (i32.const 0))
    (i32.const 0))
