;; Traps after it has answered.
(func (export "cabi_post_bulkhead:handler/handler@0.1.0#handle") (param i32)
    unreachable)
