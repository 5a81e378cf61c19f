# Where Defender streams to, and who may read it.

locals {
  # Defender makes the container with its first write, and names it after the table.
  container = "insights-logs-advancedhunting-devicenetworkevents"
}

resource "azurerm_resource_group" "muster" {
  name     = var.resource_group_name
  location = var.location
}

resource "azurerm_storage_account" "export" {
  # checkov:skip=CKV_AZURE_59: Defender, Event Grid and the provider come over the public endpoint; Entra decides who gets in, and allowed_ip_ranges from where.
  # checkov:skip=CKV_AZURE_35: It is Deny as soon as allowed_ip_ranges names the addresses. A provider on AWS Lambda has none that stay.
  # checkov:skip=CKV_AZURE_206: The account holds copies on their way elsewhere; replication is a variable.
  # checkov:skip=CKV_AZURE_33: Classic queue logging needs account keys; Azure Monitor logs whoever wants it.
  # checkov:skip=CKV2_AZURE_38: What retention_days deletes is to be gone, and every event is in the provider's lake.
  # checkov:skip=CKV2_AZURE_33: A private endpoint lies in a network of the customer's, which neither Defender nor the provider is in.
  # checkov:skip=CKV2_AZURE_1: Microsoft's keys encrypt it, twice; a key of the customer's own is theirs to bring.
  name                     = var.storage_account_name
  resource_group_name      = azurerm_resource_group.muster.name
  location                 = azurerm_resource_group.muster.location
  account_kind             = "StorageV2"
  account_tier             = "Standard"
  account_replication_type = var.replication

  # A flat namespace: there the creation of a blob is announced as PutBlob, and append blobs are what the export writes.
  is_hns_enabled = false

  https_traffic_only_enabled = true
  min_tls_version            = "TLS1_2"

  # No blob is anybody's to read, whatever a container says.
  allow_nested_items_to_be_public = false

  # An account key opens everything, is nobody's, and leaves no name in a log. Microsoft's prerequisite for the export is that
  # trusted services may pass the firewall, not that keys are on; that it needs none was not seen on a live tenant.
  shared_access_key_enabled       = var.shared_keys
  default_to_oauth_authentication = true

  # Ways in that nobody here needs.
  local_user_enabled               = false
  sftp_enabled                     = false
  cross_tenant_replication_enabled = false

  infrastructure_encryption_enabled = true

  # Defender, Event Grid and the provider come over the public endpoint. With addresses named, nobody else does; Entra
  # decides in any case.
  public_network_access_enabled = true

  network_rules {
    default_action = length(var.allowed_ip_ranges) == 0 ? "Allow" : "Deny"
    # Defender's export and Event Grid are trusted services of Microsoft's: without this a firewall keeps both out.
    bypass   = ["AzureServices"]
    ip_rules = var.allowed_ip_ranges
  }
}

resource "azurerm_storage_queue" "hints" {
  name = var.queue_name
  # By the account's id it is made through Azure's own API, with no key and from behind any firewall.
  storage_account_id = azurerm_storage_account.export.id
}

# What is kept longer than it is needed can only leak. The provider never deletes a blob; this does.
resource "azurerm_storage_management_policy" "retention" {
  storage_account_id = azurerm_storage_account.export.id

  rule {
    name    = "delete-exported-events"
    enabled = true

    filters {
      prefix_match = ["${local.container}/"]
      blob_types   = ["appendBlob"]
    }

    actions {
      base_blob {
        delete_after_days_since_modification_greater_than = var.retention_days
      }
    }
  }
}

# Read and list, and no more. On the whole account, because the container is not there before Defender's first write; the
# account holds nothing but the export.
resource "azurerm_role_assignment" "blobs" {
  scope                = azurerm_storage_account.export.id
  role_definition_name = "Storage Blob Data Reader"
  principal_id         = azuread_service_principal.own.object_id
  principal_type       = "ServicePrincipal"
}

# Peek, get and delete. Reading alone (Storage Queue Data Reader) would not take a message away, and writing is nobody's but
# Event Grid's.
resource "azurerm_role_assignment" "hints" {
  scope                = local.queue_scope
  role_definition_name = "Storage Queue Data Message Processor"
  principal_id         = azuread_service_principal.own.object_id
  principal_type       = "ServicePrincipal"
}
