;; Calls itself for ever while it describes itself.
(func $deeper (result i32) (i32.add (call $deeper) (i32.const 1)))
(func (export "bulkhead:handler/handler@0.1.0#describe") (result i32)
    (call $deeper))
