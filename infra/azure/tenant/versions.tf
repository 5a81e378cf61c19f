# A customer's own side: an application of its own, and the storage into which Defender streams its network telemetry.
# Whoever applies this is the customer; the provider gets the five outputs.

terraform {
  # 1.9 is the first that lets a variable's validation look at another variable.
  required_version = ">= 1.9"

  required_providers {
    azuread = {
      source = "hashicorp/azuread"
      # Exactly the versions whose schemas these files are checked against; `tests/fixtures/terraform` says how to move them.
      version = "3.7.0"
    }
    azurerm = {
      source  = "hashicorp/azurerm"
      version = "4.55.0"
    }
  }
}

provider "azuread" {
  # Named, so that a signed-in session for another tenant fails instead of making the application there.
  tenant_id   = var.tenant_id
  environment = local.clouds[var.cloud].directory
}

provider "azurerm" {
  tenant_id       = var.tenant_id
  subscription_id = var.subscription_id
  environment     = local.clouds[var.cloud].resources

  # What this needs, and no more: Insights is what the export demands.
  resource_provider_registrations = "none"
  resource_providers_to_register  = ["Microsoft.EventGrid", "Microsoft.Insights", "Microsoft.Storage"]

  # Whatever touches data is authorized by Entra, for account keys are off.
  storage_use_azuread = true

  features {
    storage {
      # Nothing here is done through the account's own endpoints, which a firewall may close to whoever runs Terraform.
      data_plane_available = false
    }
  }
}

locals {
  clouds = {
    commercial = { directory = "global", resources = "public", audience = "api://AzureADTokenExchange" }
    gcc        = { directory = "global", resources = "public", audience = "api://AzureADTokenExchange" }
    gcc-high   = { directory = "usgovernmentl4", resources = "usgovernment", audience = "api://AzureADTokenExchangeUSGov" }
    dod        = { directory = "usgovernmentl5", resources = "usgovernment", audience = "api://AzureADTokenExchangeUSGov" }
  }
}
