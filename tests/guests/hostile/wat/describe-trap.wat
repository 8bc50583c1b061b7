;; Traps while it describes itself.
(func (export "bulkhead:handler/handler@0.1.0#describe") (result i32)
    unreachable)
