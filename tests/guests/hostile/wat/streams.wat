;; Takes its standard output for ever and drops none.
(import "wasi:cli/stdout@0.2.0" "get-stdout" (func $stdout (result i32)))
(func (export "bulkhead:handler/handler@0.1.0#handle") (param i32) (result i32)
    (loop $again (drop (call $stdout)) (br $again))
    (i32.const 0))
