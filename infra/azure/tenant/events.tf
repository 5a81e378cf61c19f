# New blobs are announced in the queue. Event Grid says so once, when a blob is made; that it grows Muster finds by itself.

locals {
  queue_scope = "${azurerm_storage_account.export.id}/queueServices/default/queues/${azurerm_storage_queue.hints.name}"
}

resource "azurerm_eventgrid_system_topic" "export" {
  name                = "${var.storage_account_name}-blobs"
  resource_group_name = azurerm_resource_group.muster.name
  # Where the account is.
  location           = azurerm_storage_account.export.location
  source_resource_id = azurerm_storage_account.export.id
  topic_type         = "Microsoft.Storage.StorageAccounts"

  # It delivers as itself, not by the account's key. Through a firewall the system-assigned identity alone gets by, and only
  # as a trusted service.
  identity {
    type = "SystemAssigned"
  }
}

# It may put messages into this queue, and neither read nor take any.
resource "azurerm_role_assignment" "sender" {
  scope                = local.queue_scope
  role_definition_name = "Storage Queue Data Message Sender"
  principal_id         = azurerm_eventgrid_system_topic.export.identity[0].principal_id
  principal_type       = "ServicePrincipal"
  # The identity has just been made, and not every replica of the directory knows it.
  skip_service_principal_aad_check = true
}

resource "azurerm_eventgrid_system_topic_event_subscription" "created" {
  name                = "muster-hints"
  resource_group_name = azurerm_resource_group.muster.name
  system_topic        = azurerm_eventgrid_system_topic.export.name

  event_delivery_schema = "EventGridSchema"
  included_event_types  = ["Microsoft.Storage.BlobCreated"]

  # Of this table's container alone: what else is streamed into the account is not announced.
  subject_filter {
    subject_begins_with = "/blobServices/default/containers/${local.container}/"
  }

  delivery_identity {
    type = "SystemAssigned"
  }

  storage_queue_endpoint {
    storage_account_id = azurerm_storage_account.export.id
    queue_name         = azurerm_storage_queue.hints.name
    # A week; what expires unread is found by the hourly listing.
    queue_message_time_to_live_in_seconds = 604800
  }

  # A day, as long as Event Grid tries at all.
  retry_policy {
    event_time_to_live    = 1440
    max_delivery_attempts = 30
  }

  depends_on = [azurerm_role_assignment.sender]
}
