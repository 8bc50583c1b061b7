;; Calls an empty element of a table.
(table 4 funcref)
(type $call (func))
(func (export "bulkhead:handler/handler@0.1.0#handle") (param i32) (result i32)
    (call_indirect (type $call) (i32.const 1))
    (i32.const 0))
