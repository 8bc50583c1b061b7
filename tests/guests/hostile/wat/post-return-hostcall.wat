;; Calls the host while it cleans up.
(import "bulkhead:handler/context@0.1.0" "cancelled" (func $cancelled (result i32)))
(func (export "cabi_post_bulkhead:handler/handler@0.1.0#handle") (param i32)
    (drop (call $cancelled)))
