;; Calls itself for ever through a table.
(type $call (func (result i32)))
(table 1 funcref)
(elem (i32.const 0) $deeper)
(func $deeper (result i32) (i32.add (call_indirect (type $call) (i32.const 0)) (i32.const 1)))
(func (export "bulkhead:handler/handler@0.1.0#handle") (param i32) (result i32)
    (drop (call $deeper))
    (i32.const 0))
