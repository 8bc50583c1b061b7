;; Logs for ever while it describes itself.
(import "bulkhead:handler/log@0.1.0" "write" (func $log (param i32 i32 i32 i32 i32)))
(func (export "bulkhead:handler/handler@0.1.0#describe") (result i32)
    (loop $again
        (call $log (i32.const 4) (i32.const 256) (i32.const 32) (i32.const 0) (i32.const 0))
        (br $again))
    (i32.const 256))
