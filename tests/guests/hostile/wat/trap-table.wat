;; Calls beyond the end of a table.
(table 4 funcref)
(type $call (func))
(func (export "bulkhead:handler/handler@0.1.0#handle") (param i32) (result i32)
    (call_indirect (type $call) (i32.const 1000000))
    (i32.const 0))
