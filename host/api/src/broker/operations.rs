//! The operations that a host answers, each with the trait's own arguments and, after `=`,
//! what they are on the wire.

/// Hand the list to another macro.
macro_rules! operations {
    ($to:ident) => {
        $to! {
            submit(tasks: &[Task] = Vec<Task>) -> Vec<SubmitAnswer>;
            inspect(queue: &QueueName = QueueName, ids: &[TaskId] = Vec<TaskId>)
                -> Vec<Option<TaskView>>;
            list(
                queue: &QueueName = QueueName,
                filter: &ListFilter = ListFilter,
                after: Option<&Mark> = Option<Mark>
            ) -> TaskPage;
            cancel(
                queue: &QueueName = QueueName,
                ids: &[TaskId] = Vec<TaskId>,
                retention_ms: u64 = u64
            ) -> Vec<CancelAnswer>;
            rerun(queue: &QueueName = QueueName, ids: &[TaskId] = Vec<TaskId>)
                -> Vec<RerunAnswer>;
            rerun_edited(queue: &QueueName = QueueName, id: TaskId = TaskId, payload: Payload = Payload)
                -> RerunAnswer;
            drop_dead(queue: &QueueName = QueueName, ids: &[TaskId] = Vec<TaskId>) -> u64;
            purge(queue: &QueueName = QueueName, state: State = State) -> u64;
            watch(queue: &QueueName = QueueName, ids: &[TaskId] = Vec<TaskId>) -> Vec<bool>;
            deliver(queue: &QueueName = QueueName) -> u64;
            recall(queue: &QueueName = QueueName, key: &str = String) -> Option<Payload>;
            remember(
                queue: &QueueName = QueueName,
                key: &str = String,
                output: &Payload = Payload,
                ttl_ms: u64 = u64
            ) -> ();
            open_batch(batch: &Batch = Batch) -> bool;
            leave_batch(
                queue: &QueueName = QueueName,
                id: BatchId = BatchId,
                members: &[TaskRef] = Vec<TaskRef>
            ) -> ();
            batch(queue: &QueueName = QueueName, id: BatchId = BatchId) -> Option<BatchView>;
            batches(queue: &QueueName = QueueName, limit: usize = usize) -> Vec<BatchView>;
            put_schedule(
                queue: &QueueName = QueueName,
                schedule: &Schedule = Schedule,
                next: Option<UnixMs> = Option<UnixMs>
            ) -> bool;
            remove_schedule(queue: &QueueName = QueueName, name: &str = String) -> bool;
            pause_schedule(
                queue: &QueueName = QueueName,
                name: &str = String,
                paused: bool = bool,
                next: Option<UnixMs> = Option<UnixMs>
            ) -> bool;
            schedules(queue: &QueueName = QueueName) -> Vec<ScheduleView>;
            due_schedules(queue: &QueueName = QueueName, limit: usize = usize) -> DueSchedules;
            fire(queue: &QueueName = QueueName, fire: &Fire = Fire) -> FireAnswer;
            pause(queue: &QueueName = QueueName, task_type: Option<&TaskType> = Option<TaskType>)
                -> bool;
            resume(queue: &QueueName = QueueName, task_type: Option<&TaskType> = Option<TaskType>)
                -> bool;
            set_policy(queue: &QueueName = QueueName, policy: &QueuePolicy = QueuePolicy) -> ();
            policy(queue: &QueueName = QueueName) -> QueuePolicy;
            stats(queue: &QueueName = QueueName) -> QueueStats;
            quota_use(queue: &QueueName = QueueName, tenants: &[TenantName] = Vec<TenantName>)
                -> Vec<QuotaUse>;
            queues() -> Vec<QueueName>;
            usage(queue: &QueueName = QueueName, from: Day = Day, to: Day = Day) -> Vec<UsageRow>;
            examine(queue: &QueueName = QueueName, repair: bool = bool) -> Vec<Finding>;
            kv_get(owner: &KvOwner = KvOwner, key: &str = String) -> Option<KvEntry>;
            kv_list(owner: &KvOwner = KvOwner, range: &KvRange = KvRange) -> KvPage;
            kv_write(owner: &KvOwner = KvOwner, write: &KvWrite = KvWrite) -> KvWritten;
            kv_usage(owner: &KvOwner = KvOwner) -> KvUsage;
            put_secret(
                id: &SecretId = SecretId,
                sealed: &Sealed = Sealed,
                over: Option<&Sealed> = Option<Sealed>
            ) -> bool;
            delete_secret(id: &SecretId = SecretId) -> bool;
            secret_ids() -> Vec<SecretId>;
            secrets(ids: &[SecretId] = Vec<SecretId>) -> Vec<Option<Sealed>>;
            hosts() -> Vec<HostInfo>;
            request_rescan() -> u64;
            check() -> Vec<String>;
        }
    };
}

/// What is kept for operators, each with [`bulkhead_queue::Archive`]'s own arguments.
macro_rules! archived {
    ($to:ident) => {
        $to! {
            put_document(
                id: &DocumentId = DocumentId,
                document: &Document = Document,
                expected: &Expected = Expected,
                ttl_ms: Option<u64> = Option<u64>
            ) -> bool;
            document(id: &DocumentId = DocumentId) -> Option<Document>;
            documents(kind: DocumentKind = DocumentKind) -> Vec<(String, Document)>;
            delete_document(id: &DocumentId = DocumentId) -> bool;
            send_blob(draft: &BlobDraft = BlobDraft, piece: &BlobPiece = BlobPiece) -> ();
            keep_blob(draft: &BlobDraft = BlobDraft) -> ();
            blob_info(digest: &Digest = Digest) -> Option<BlobInfo>;
            blob_piece(digest: &Digest = Digest, number: u32 = u32) -> Option<BlobPiece>;
            blobs() -> Vec<BlobInfo>;
            delete_blob(digest: &Digest = Digest) -> bool;
            journal(line: &JournalLine = JournalLine) -> ();
            journal_entries(range: &JournalRange = JournalRange) -> Vec<JournalEntry>;
            sample(queue: &QueueName = QueueName) -> bool;
            history(
                queue: &QueueName = QueueName,
                from: UnixMs = UnixMs,
                to: UnixMs = UnixMs,
                resolution: Resolution = Resolution
            ) -> Vec<Sample>;
        }
    };
}

pub(super) use {archived, operations};
