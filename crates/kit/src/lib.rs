//! Everything generic around kube: client, stores, applier, leases, webhooks, admin server
