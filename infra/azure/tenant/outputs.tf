# What the provider needs, by the names of the fields that it is asked for.

output "client_id" {
  description = "The application."
  value       = azuread_application_registration.own.client_id
}

output "tenant_id" {
  description = "The tenant."
  value       = var.tenant_id
}

output "client_secret" {
  description = "The application's secret, if it has one: null when it is federated, has a certificate, or the provider keeps its own."
  value       = try(azuread_application_password.first["first"].value, null)
  sensitive   = true
}

output "storage_account_name" {
  description = "The storage account into which Defender streams."
  value       = azurerm_storage_account.export.name
}

output "queue_name" {
  description = "The queue in which new blobs are announced."
  value       = azurerm_storage_queue.hints.name
}
