;; Calls a function by a wrong signature.
(table 1 funcref)
(elem (i32.const 0) $other)
(func $other (param i64) (result f64) (f64.const 0))
(type $call (func))
(func (export "bulkhead:handler/handler@0.1.0#handle") (param i32) (result i32)
    (call_indirect (type $call) (i32.const 0))
    (i32.const 0))
